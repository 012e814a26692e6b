import CCrash
import CLinux

// Nothing else stands here: closures in top-level code would pull the concurrency runtime into the full-runtime build.
start()

/// PID 1 begins here: at power-on, and again if it crashed.
func start() {
    var arguments: [String] = []
    while let argument = clinux_argument(Int32(clamping: arguments.count + 1)) {
        // The kernel hands unknown words of its command line to PID 1; only the crash handler's count.
        arguments.append(String(cString: argument))
        if arguments.count == 8 { break }
    }
    if arguments.first == CCRASH_ARGUMENT {
        Recovery.run(Array(arguments.dropFirst()), started: clinux_start_nanoseconds())
    }
    Boot(started: clinux_start_nanoseconds()).run()
}
