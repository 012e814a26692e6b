import CLinux
import Foundation
import Linux
import SessionLog
import Testing

/// The line of a VM's serial0, to which clients come by TCP on this machine, one after the other, as OpenSSH's client can.
///
/// What the VM says while no client is there is kept for whoever asks.
final class TestLine: @unchecked Sendable {
    private let line: Int32
    private let listener: Int32
    let port: UInt16
    private let lock = NSLock()
    private var client: Int32 = -1
    private var unclaimed: [UInt8] = []
    private var isClosed = false
    private var carried: (toVM: Int, toClient: Int, packetsToVM: Int, packetsToClient: Int) = (0, 0, 0, 0)
    /// What becomes of the next piece in each direction.
    private var harmToVM: (@Sendable ([UInt8]) -> [UInt8])?
    private var harmToClient: (@Sendable ([UInt8]) -> [UInt8])?

    init(_ path: String) throws {
        let line = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(line, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if connected != 0 { throw LiveVMError(description: "connect \(path): \(Errno(rawValue: errno))") }
        self.line = line
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var own = sockaddr_in()
        own.sin_family = sa_family_t(AF_INET)
        own.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let number = withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> UInt16? in
                guard bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: pointer), size) == 0, listen(listener, 4) == 0,
                    getsockname(listener, __SOCKADDR_ARG(__sockaddr__: pointer), &size) == 0
                else { return nil }
                return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
            }
        }
        guard let number else { throw LiveVMError(description: "listen: \(Errno(rawValue: errno))") }
        self.listener = listener
        port = number
        Thread.detachNewThread { [self] in serve() }
    }

    /// Ends the line's thread. The VM runs on.
    func close() { lock.withLock { isClosed = true } }

    /// Sends bytes to the VM that no client sent.
    func inject(_ bytes: [UInt8]) { _ = bytes.withUnsafeBytes { write(line, $0.baseAddress, $0.count) } }

    /// Cuts the present client off.
    func drop() {
        lock.withLock {
            if client >= 0 { _ = Glibc.shutdown(client, Int32(SHUT_RDWR)) }
        }
    }

    /// Changes the next piece that a client sends, or the VM.
    func disturb(towardsVM: Bool, _ harm: @escaping @Sendable ([UInt8]) -> [UInt8]) {
        lock.withLock { if towardsVM { harmToVM = harm } else { harmToClient = harm } }
    }

    /// What the VM says to nobody from now on, until it is what is waited for.
    /// - Returns: nil when it did not come in time.
    func hear(seconds: Double = 60, until isEnough: ([UInt8]) -> Bool) -> [UInt8]? {
        let end = Date(timeIntervalSinceNow: seconds)
        var heard: [UInt8] = []
        while Date() < end {
            heard += take(1, seconds: 0.05)
            if isEnough(heard) { return heard }
        }
        return nil
    }

    /// Asks as a VCH does, by bytes that end with a SYN and its number.
    /// - Returns: the guest's number, and after how many seconds its answer was there; nil without one.
    func ask(_ bytes: [UInt8]) -> (number: UInt8, seconds: Double)? {
        let expected = [0x06, (bytes.last ?? 0) &+ 1]
        let begun = Date()
        inject(bytes)
        // The answer is the last that it says, whatever the line still holds of an earlier connection.
        guard let heard = hear(until: { $0.suffix(3).starts(with: expected) }) else { return nil }
        return (heard[heard.count - 1], Date().timeIntervalSince(begun))
    }

    /// What the VM said to nobody since this was last asked, once there are `count` bytes of it.
    func take(_ count: Int, seconds: Double = 10) -> [UInt8] {
        let end = Date(timeIntervalSinceNow: seconds)
        while Date() < end, lock.withLock({ unclaimed.count < count }) { Thread.sleep(forTimeInterval: 0.002) }
        return lock.withLock {
            defer { unclaimed = [] }
            return unclaimed
        }
    }

    /// Bytes and pieces that passed since this was last asked.
    func traffic() -> (toVM: Int, toClient: Int, packetsToVM: Int, packetsToClient: Int) {
        lock.withLock {
            defer { carried = (0, 0, 0, 0) }
            return carried
        }
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !lock.withLock({ isClosed }) {
            let present = lock.withLock { client }
            var watched = [
                pollfd(fd: line, events: Int16(POLLIN), revents: 0),
                pollfd(fd: present >= 0 ? present : listener, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&watched, 2, 50) <= 0 { continue }
            if watched[0].revents != 0 {
                let count = read(line, &buffer, buffer.count)
                if count <= 0 { break }
                lock.withLock {
                    if client >= 0 {
                        carried.toClient += count
                        carried.packetsToClient += 1
                        send(harmed(&harmToClient, buffer[..<count]), to: client)
                    } else {
                        unclaimed += buffer[..<count]
                    }
                }
            }
            if watched[1].revents != 0 {
                if present < 0 {
                    let new = accept4(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil, Int32(SOCK_CLOEXEC.rawValue))
                    lock.withLock { client = new }
                } else {
                    let count = read(present, &buffer, buffer.count)
                    lock.withLock {
                        if count > 0 {
                            carried.toVM += count
                            carried.packetsToVM += 1
                            send(harmed(&harmToVM, buffer[..<count]), to: line)
                        } else {
                            _ = Glibc.close(client)
                            client = -1
                        }
                    }
                }
            }
        }
        _ = Glibc.close(line)
        _ = Glibc.close(listener)
        lock.withLock {
            if client >= 0 { _ = Glibc.close(client) }
            client = -1
        }
    }

    private func harmed(_ harm: inout (@Sendable ([UInt8]) -> [UInt8])?, _ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let change = harm else { return bytes }
        harm = nil
        return change(Array(bytes))[...]
    }

    private func send(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// A container VM whose serial0 is an attach server's line, and OpenSSH's client for it.
final class AttachVM {
    let line: TestLine
    private let scratch: Scratch
    private let program: RunningProgram

    /// Boots the ISO and waits until the attach server has published its host keys.
    /// - Parameters:
    ///   - attach: members of the configuration's `attach` object, beside the authorized key.
    ///   - kernelArguments: further ones, with which the kernel is booted without the ISO.
    init(
        image: String? = nil, _ args: [String], tether: [String: Any] = [:], attach: [String: Any] = [:], options: [String] = [],
        kernelArguments: String? = nil, _ change: (inout [String: Any], inout [String: Any]) -> Void = { _, _ in }
    ) throws {
        let scratch = try Scratch()
        self.scratch = scratch
        let key = scratch.file("key")
        let made = try run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boot-tests", "-f", key])
        try #require(made.status == 0, "\(made.errorText)")
        let line = try String(contentsOfFile: key + ".pub", encoding: .utf8).trimmingCharacters(in: .newlines)
        let attach = ["authorizedKeys": [line]].merging(attach) { _, own in own } as [String: Any]
        let config = configuration(args) { config, process in
            config["tether"] = tether.merging(["attach": attach]) { _, own in own }
            change(&config, &process)
        }
        let data = try JSONSerialization.data(withJSONObject: config)
        let program = try RunningProgram(
            VM.arguments(
                scratch, image: image, rawConfig: data, options: ["--timeout", "1200"] + options, kernelArguments: kernelArguments))
        self.program = program
        let (socket, keys) = (VM.kept(scratch) + "/attach.sock", VM.kept(scratch) + "/hostkeys")
        func waitFor(_ file: String) {
            for _ in 0..<1800 where !FileManager.default.fileExists(atPath: file) && program.process.isRunning {
                Thread.sleep(forTimeInterval: 0.1)
            }
        }
        waitFor(socket)
        do { self.line = try TestLine(socket) } catch {
            program.process.terminate()
            throw error
        }
        waitFor(keys)
        guard let keys = try? String(contentsOfFile: keys, encoding: .utf8) else {
            program.process.terminate()
            let vm = try VM.collect(program.finish(), scratch)
            throw LiveVMError(description: "no host keys; \(vm.finished.errorText)\n\(vm.console.suffix(4000))")
        }
        let known = keys.split(separator: "\n").map { "vm \($0)\n" }.joined()
        try scratch.write("known_hosts", Data(known.utf8))
    }

    deinit {
        line.close()
        if program.process.isRunning { program.process.terminate() }
        if program.process.isRunning { program.process.terminate() }
    }

    /// The command line of OpenSSH's client.
    /// - Parameter isDirect: it speaks to the line itself, and not through `tetherctl proxy`, which synchronises first.
    func command(
        _ words: [String], options: [String] = [], user: String = "container", hasKey: Bool = true, isDirect: Bool = false
    ) throws -> [String] {
        let proxy = "ProxyCommand=\(try Build.path("tetherctl")) proxy tcp://127.0.0.1:\(line.port)"
        var command = ["ssh", "-F", "/dev/null"] + (isDirect ? ["-p", "\(line.port)"] : ["-o", proxy])
        command += ["-o", "UserKnownHostsFile=\(scratch.file("known_hosts"))"]
        command += ["-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=vm", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        command += hasKey ? ["-o", "IdentitiesOnly=yes", "-i", scratch.file("key")] : ["-o", "PubkeyAuthentication=no"]
        return command + options + ["\(user)@127.0.0.1"] + words
    }

    /// The command line of one of tetherctl's clients, up to the endpoint.
    /// - Parameter endpoint: nil for the line's TCP port.
    func tetherctl(_ command: String, options: [String] = [], endpoint: String? = nil) throws -> [String] {
        [try Build.path("tetherctl"), command, "--identity", scratch.file("key"), "--host-key", VM.kept(scratch) + "/hostkeys"]
            + options + [endpoint ?? "tcp://127.0.0.1:\(line.port)"]
    }

    /// The private key that logs in, and what OpenSSH is to know of the VM's, under the name "vm".
    var identity: String { scratch.file("key") }
    var knownHosts: String { scratch.file("known_hosts") }

    /// Starts one of tetherctl's clients with a pipe as its standard input.
    func start(
        tetherctl command: String, options: [String] = [], words: [String] = [], endpoint: String? = nil
    ) throws -> RunningClient {
        try RunningClient(try tetherctl(command, options: options, endpoint: endpoint) + words, Foundation.Pipe(), scratch)
    }

    /// Runs OpenSSH's client to its end, for at most so many seconds.
    func ssh(
        _ words: [String] = [], input: Data = Data(), options: [String] = [], user: String = "container", hasKey: Bool = true,
        isDirect: Bool = false, seconds: Double = 120
    ) throws -> Finished {
        try run(command(words, options: options, user: user, hasKey: hasKey, isDirect: isDirect), input: input, seconds: seconds)
    }

    /// Starts OpenSSH's client with a pipe as its standard input.
    func start(_ words: [String] = [], options: [String] = [], input: Foundation.Pipe = Foundation.Pipe()) throws -> RunningClient {
        try RunningClient(try command(words, options: options), input, scratch)
    }

    /// What guestinfo says of the container now.
    var status: [String: Any] {
        let data = (try? Data(contentsOf: URL(fileURLWithPath: VM.kept(scratch) + "/status.json"))) ?? Data()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    /// Waits until the container process is about to be started, and for a client.
    func waitUntilWaiting() throws {
        for _ in 0..<600 where status["waiting"] == nil && isRunning { Thread.sleep(forTimeInterval: 0.1) }
        try #require(status["waiting"] != nil, "\(status)")
    }

    /// Waits until the container process runs: the server is there before.
    func waitForContainer() throws {
        for _ in 0..<600 where status["phase"] as? String != "running" && isRunning { Thread.sleep(forTimeInterval: 0.1) }
        try #require(status["phase"] as? String == "running", "\(status)")
    }

    /// The diagnostics until now.
    var console: String { kept("console.log") }

    /// What is in a file that the run keeps.
    func kept(_ name: String) -> String {
        String(decoding: (try? Data(contentsOf: URL(fileURLWithPath: VM.kept(scratch) + "/" + name))) ?? Data(), as: UTF8.self)
    }

    var isRunning: Bool { program.process.isRunning }

    /// Asks the VM to go off, as tetherctl does when it is interrupted.
    func interrupt() { program.process.interrupt() }

    /// Waits until the VM is off.
    func finish() throws -> VM { try VM.collect(program.finish(), scratch) }
}

/// Runs a program, with a file as its standard input, to its end or for so long.
func run(_ arguments: [String], input: Data, seconds: Double = 120) throws -> Finished {
    let scratch = try Scratch()
    let file = try scratch.write("input", input)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardInput = FileHandle(forReadingAtPath: file)
    let (out, err) = (try scratch.write("out", Data()), try scratch.write("err", Data()))
    process.standardOutput = FileHandle(forWritingAtPath: out)
    process.standardError = FileHandle(forWritingAtPath: err)
    try process.run()
    end(process, within: seconds)
    return Finished(
        status: process.terminationStatus, stdout: try Data(contentsOf: URL(fileURLWithPath: out)),
        stderr: try Data(contentsOf: URL(fileURLWithPath: err)))
}

/// Waits for a process; one that takes longer is killed. (Tests run with signals blocked, and so do their children.)
private func end(_ process: Process, within seconds: Double) {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while process.isRunning && Date() < deadline { Thread.sleep(forTimeInterval: 0.01) }
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
}

/// OpenSSH's client while it runs.
final class RunningClient {
    let process = Process()
    let input: Foundation.Pipe
    private let out: String
    private let scratch: Scratch

    init(_ command: [String], _ input: Foundation.Pipe, _ scratch: Scratch) throws {
        self.input = input
        self.scratch = scratch
        out = scratch.file("client-\(UUID().uuidString)")
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardInput = input
        for name in [out, out + ".err"] { try Data().write(to: URL(fileURLWithPath: name)) }
        process.standardOutput = FileHandle(forWritingAtPath: out)
        process.standardError = FileHandle(forWritingAtPath: out + ".err")
        try process.run()
    }

    deinit { stop() }

    func stop() { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
    func write(_ text: String) { try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }
    func endInput() { try? input.fileHandleForWriting.close() }
    var output: Data { (try? Data(contentsOf: URL(fileURLWithPath: out))) ?? Data() }
    var text: String { String(decoding: output, as: UTF8.self) }
    var errorText: String { String(decoding: (try? Data(contentsOf: URL(fileURLWithPath: out + ".err"))) ?? Data(), as: UTF8.self) }

    /// Waits until its output contains something.
    func wait(for part: String, seconds: Double = 60) -> Bool {
        let end = Date(timeIntervalSinceNow: seconds)
        while Date() < end {
            if text.contains(part) { return true }
            Thread.sleep(forTimeInterval: 0.02)
        }
        return false
    }

    func finish() -> Int32 {
        end(process, within: 60)
        return process.terminationStatus
    }
}
