import Foundation
import Linux

/// Runs the programs that make image disks, and turns their failures into errors that carry their own words.
struct Tool {
    /// Put in front of every command: empty, or fakeroot(1) with its state file where the caller is not root.
    var prefix: [String] = []
    /// Added to the environment.
    var environment: [String: String] = [:]

    /// How much of a program's error output is kept: its end, where the cause is.
    private static let errorLimit = 8192

    /// Runs `command` and waits for it.
    /// - Parameters:
    ///   - command: program and arguments; the program is looked up in PATH, /usr/sbin and /sbin.
    ///   - object: what the run is about, for the error.
    ///   - directory: where the program starts; nil is here.
    ///   - input: the file that is its standard input.
    ///   - output: gets its standard output, piece by piece.
    /// - Throws: ``DiskImageError`` when it cannot be started, is killed or exits with another status than 0.
    func run(
        _ command: [String], object: String, directory: String? = nil, input: String = "/dev/null",
        output: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) throws(DiskImageError) {
        let name = command.first ?? ""
        func failure(_ cause: String) -> DiskImageError { DiskImageError(name, object, cause) }
        func check(_ step: String, _ result: Int32) throws(DiskImageError) {
            if result != 0 { throw failure("\(step): \(String(cString: strerror(result)))") }
        }

        // Output and errors: read ends at 0 and 2, write ends at 1 and 3; -1 where closed.
        var ends: [Int32] = []
        defer { for end in ends where end >= 0 { close(end) } }
        for _ in 0..<2 {
            do throws(SyscallError) {
                let pipe = try Linux.Pipe().take()
                ends += [pipe.read, pipe.write]
            } catch { throw failure("\(error)") }
        }

        var actions = posix_spawn_file_actions_t()
        try check("posix_spawn_file_actions_init", posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        try check("posix_spawn_file_actions_addopen", posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0))
        try check("posix_spawn_file_actions_adddup2", posix_spawn_file_actions_adddup2(&actions, ends[1], 1))
        try check("posix_spawn_file_actions_adddup2", posix_spawn_file_actions_adddup2(&actions, ends[3], 2))
        // The caller may ignore SIGINT, so as to clean up after its programs died of it: they must not inherit that.
        var attributes = posix_spawnattr_t()
        try check("posix_spawnattr_init", posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGINT)
        sigaddset(&defaults, SIGPIPE)
        try check("posix_spawnattr_setsigdefault", posix_spawnattr_setsigdefault(&attributes, &defaults))
        try check("posix_spawnattr_setflags", posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF)))

        let words = prefix + (directory.map { ["env", "-C", $0] } ?? []) + command
        guard let program = Self.find(words.first ?? "") else {
            throw DiskImageError(words.first ?? "", object, "there is no such program; scripts/packages names the Debian packages needed")
        }
        var pid: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = fullEnvironment.map { strdup($0) } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        try check("posix_spawn", posix_spawn(&pid, program, &actions, &attributes, &arguments, &variables))
        close(ends[1])
        close(ends[3])
        ends[1] = -1
        ends[3] = -1

        let errorText = Self.drain(output: ends[0], errors: ends[2], into: output)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            if errno != EINTR { throw failure("waitpid: \(String(cString: strerror(errno)))") }
        }
        let signal = status & 0x7F
        if signal != 0 { throw failure("killed by signal \(signal)") }
        let code = (status >> 8) & 0xFF
        if code != 0 { throw failure(errorText.isEmpty ? "exit status \(code)" : errorText) }
    }

    /// Runs `command` and returns its standard output, at most `limit` bytes.
    func capture(_ command: [String], object: String, directory: String? = nil, limit: Int = 256 << 20) throws(DiskImageError) -> [UInt8] {
        var bytes: [UInt8] = []
        var tooLong = false
        try run(command, object: object, directory: directory) { piece in
            if bytes.count + piece.count > limit { tooLong = true } else { bytes.append(contentsOf: piece) }
        }
        if tooLong { throw DiskImageError(command.first ?? "", object, "it said more than \(limit) bytes") }
        return bytes
    }

    // MARK: -

    /// Debian leaves the directories of mke2fs, sfdisk and others out of an ordinary user's PATH.
    private static var searchPath: String { (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin" }

    private static func find(_ program: String) -> String? {
        if program.contains("/") { return program }
        return searchPath.split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    private var fullEnvironment: [String] {
        var all = ProcessInfo.processInfo.environment
        // The programs' words are part of our errors, and debugfs and dumpe2fs are parsed: no translations.
        all["LC_ALL"] = "C"
        all["PATH"] = Self.searchPath
        all.merge(environment) { _, new in new }
        return all.map { "\($0.key)=\($0.value)" }
    }

    /// Reads both streams to their ends, so that neither can fill up while the other is waited for.
    private static func drain(output: Int32, errors: Int32, into handler: (UnsafeRawBufferPointer) -> Void) -> String {
        var watched = [pollfd(fd: output, events: Int16(POLLIN), revents: 0), pollfd(fd: errors, events: Int16(POLLIN), revents: 0)]
        var errorBytes: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        while watched.contains(where: { $0.fd >= 0 }) {
            if poll(&watched, nfds_t(watched.count), -1) < 0 {
                if errno == EINTR { continue }
                break
            }
            for index in watched.indices where watched[index].fd >= 0 && watched[index].revents != 0 {
                let count = read(watched[index].fd, buffer.baseAddress, buffer.count)
                if count <= 0 {
                    watched[index].fd = -1  // poll(2) passes over negative descriptors.
                } else if index == 0 {
                    handler(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                } else {
                    errorBytes.append(contentsOf: buffer[..<count])
                    if errorBytes.count > errorLimit { errorBytes.removeFirst(errorBytes.count - errorLimit) }
                }
            }
        }
        return String(decoding: errorBytes, as: UTF8.self).split(whereSeparator: \.isNewline).suffix(4).joined(separator: "; ")
    }
}
