import CLinux
import Linux
import SSH

/// A channel with what runs behind it.
final class BedSession {
    let id: ChannelID
    /// VIC's kind of channel: the command is known from the beginning and starts when it is let go.
    let blocked: String?
    private var environment = ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/"]
    private var terminal: (size: WindowSize, modes: TerminalModes)?
    private(set) var process: BedProcess?
    private var input: [UInt8] = []
    private var inputEnded = false
    private var end: ProcessEnd?

    init(_ id: ChannelID, blocked: String? = nil) {
        self.id = id
        self.blocked = blocked
    }

    // MARK: Requests

    /// - Returns: whether the request is granted.
    func take(_ name: String, _ data: [UInt8]) -> Bool {
        switch name {
        case "ping" where blocked != nil: return data == Array("Ping".utf8)
        case "unblock" where blocked != nil: return data == Array("Unblock".utf8) && start(blocked ?? "")
        case "close-stdin" where blocked != nil:
            endInput()
            return true
        default: break
        }
        switch SessionRequest(name: name, data: data) {
        case .terminal(let name, let size, let modes)?:
            terminal = (size, modes)
            environment.append("TERM=\(name)")
            return process == nil
        case .windowChange(let size)?:
            process?.resize(size)
            return (process?.terminal ?? -1) >= 0
        case .environment(let name, let value)?:
            environment.append("\(name)=\(value)")
            return environment.count < 64
        case .shell?: return start("exec sh -i")
        case .execute(let command)?: return start(String(decoding: command, as: UTF8.self))
        case .signal(let name)?:
            guard let number = Self.signals.first(where: { $0.name == name })?.number else { return false }
            process?.signal(number)
            return process != nil
        case .lineBreak?: return process != nil
        default: return false
        }
    }

    private static let signals: [(name: String, number: Int32)] = [
        ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ABRT", SIGABRT), ("KILL", SIGKILL), ("USR1", SIGUSR1), ("SEGV", SIGSEGV),
        ("USR2", SIGUSR2), ("PIPE", SIGPIPE), ("ALRM", SIGALRM), ("TERM", SIGTERM),
    ]

    private func start(_ command: String) -> Bool {
        guard process == nil else { return false }
        do throws(SyscallError) {
            process = try BedProcess(command: command, environment: environment, terminal: terminal)
            return true
        } catch {
            return false
        }
    }

    // MARK: Input

    func append(_ data: [UInt8]) { input += data }

    func endInput() { inputEnded = true }

    /// Writes what waits to the process.
    /// - Returns: how many bytes are gone, so that the client may send as many more.
    func moveInput() -> Int {
        guard let process, process.input >= 0 else {
            // Whoever runs there takes no more: it is dropped, as a shell's pipe would drop it.
            defer { if process != nil { input = [] } }
            return process == nil ? 0 : input.count
        }
        var moved = 0
        while moved < input.count {
            let count = input[moved...].withUnsafeBytes { write(process.input, $0.baseAddress, $0.count) }
            if count < 0, clinux_errno() == EINTR { continue }
            if count < 0, clinux_errno() == EAGAIN { break }
            if count <= 0 {
                process.closeInput()
                moved = input.count
                break
            }
            moved += count
        }
        input.removeFirst(moved)
        if inputEnded, input.isEmpty, process.input >= 0 {
            if process.terminal >= 0 {
                _ = write(process.terminal, "\u{4}", 1)
                inputEnded = false
            } else {
                process.closeInput()
            }
        }
        return moved
    }

    // MARK: Output and end

    /// Moves output of the process to the channel, as far as there is room and something comes at once.
    func moveOutput(_ connection: inout Connection) {
        guard let process else { return }
        for isErrors in [false, true] {
            while true {
                let number = isErrors ? process.errors : process.output
                let room = min(connection.room(id), 32768)
                guard number >= 0, room > 0 else { break }
                var count = 0
                let bytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, initialized in
                    count = read(number, buffer.baseAddress, room)
                    initialized = max(0, count)
                }
                if count < 0, clinux_errno() == EINTR { continue }
                if count < 0, clinux_errno() == EAGAIN { break }
                // A terminal that no process has open any more gives EIO.
                if count <= 0 {
                    process.closeOutput(isErrors: isErrors)
                    break
                }
                let taken =
                    isErrors ? connection.sendExtended(data: bytes[...], on: id) : connection.send(data: bytes[...], on: id)
                precondition(taken == bytes.count, "the room was promised")
            }
        }
    }

    /// Ends the channel once the process and its output have ended.
    func finish(_ connection: inout Connection) -> Bool {
        guard let process else { return false }
        end = end ?? process.end()
        guard let end, process.output < 0, process.errors < 0 else { return false }
        if blocked == nil {
            if let signal = end.signal {
                let name = Self.signals.first { $0.number == signal }?.name ?? "TERM"
                connection.request(id, .exitSignal(name: name, coreDumped: end.coreDumped, message: "it was killed"))
            } else {
                connection.request(id, .exitStatus(UInt32(clamping: end.exitStatus ?? 0)))
            }
        }
        connection.sendEOF(id)
        connection.close(id)
        return true
    }

    var isRunning: Bool { process != nil && end == nil }
    var wantsToWrite: Bool { !input.isEmpty }
}
