import CCrash
import CLinux

// Nothing else stands here: closures in top-level code would pull the concurrency runtime into the full-runtime build.
start()

/// PID 1 begins here: at power-on, and again if it crashed.
func start() {
    // What follows mounts over /proc and /run and ends every process there is: right for PID 1 and for nobody else.
    guard getpid() == 1 else {
        let message = "tether: this is the init of a container VM, and runs as PID 1 only\n"
        _ = message.utf8.withContiguousStorageIfAvailable { write(2, $0.baseAddress, $0.count) }
        exit(125)
    }
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
