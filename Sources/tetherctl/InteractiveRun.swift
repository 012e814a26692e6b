import AttachClient
import CHostProcess
import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH
import VirtualMachine

/// `tetherctl run -i` and `-t`: joins the container over the VM's attach line, with a key that is made for this run, and checks
/// the guest's against what the guest publishes over the backdoor.
final class InteractiveRun: @unchecked Sendable {
    private static let hostKeysKey = "guestinfo.tether.attach.hostkeys"
    /// How long the guest may take to publish its keys, once it speaks on the line.
    private static let patience: Int64 = 15_000

    private let isInteractive: Bool
    private let hasTerminal: Bool
    private let key: PrivateKey
    private let terminal: LocalTerminal?
    private let signalInput: Int32
    private let signalOutput: Int32
    private let done = DispatchSemaphore(value: 0)
    // Behind the lock: the thread of the VM and that of the client have them both.
    private let lock = NSLock()
    private var hostKeys: [PublicKey] = []
    private var isStarted = false
    private var hasEnded = false
    private var result: Result<AttachOutcome, AttachError>?

    init(isInteractive: Bool, hasTerminal: Bool) throws(AttachError) {
        self.isInteractive = isInteractive
        self.hasTerminal = hasTerminal
        do throws(SSHError) { key = try PrivateKey(ed25519Seed: RandomSource.thisMachine.bytes(32)) } catch { throw .connection(error) }
        terminal = LocalTerminal(0) ?? LocalTerminal(1)
        if hasTerminal, terminal == nil { throw .local(operation: "use -t", object: "", cause: "there is no terminal here") }
        do throws(SyscallError) {
            let pipe = try Pipe().take()
            (signalInput, signalOutput) = (pipe.read, pipe.write)
        } catch { throw .local(operation: error.operation, object: error.object, cause: error.errno.description) }
    }

    // MARK: The configuration

    /// Has the container wait for us, and let us in.
    func amend(_ configuration: [UInt8]) throws(VirtualMachineError) -> [UInt8] {
        guard var root = try? JSONSerialization.jsonObject(with: Data(configuration)) as? [String: Any] else {
            throw VirtualMachineError("read the configuration", "", "it is no JSON object")
        }
        var tether = root["tether"] as? [String: Any] ?? [:]
        var attach = tether["attach"] as? [String: Any] ?? [:]
        if let device = attach["device"] as? String, device != "/dev/ttyS0" {
            throw VirtualMachineError("use -i or -t", "tether.attach.device", "the attach line is \(device), and has to be /dev/ttyS0")
        }
        attach["authorizedKeys"] = (attach["authorizedKeys"] as? [String] ?? []) + [key.publicKey.line + " tetherctl-run"]
        attach["wait"] = true
        tether["attach"] = attach
        var sessions = tether["sessions"] as? [String: Any] ?? [:]
        // As without -i: a slow reader makes the process wait.
        if sessions["slowClient"] == nil { sessions["slowClient"] = "block" }
        tether["sessions"] = sessions
        if isInteractive, !hasTerminal { tether["stdin"] = "open" }
        root["tether"] = tether
        if hasTerminal {
            var process = root["process"] as? [String: Any] ?? [:]
            process["terminal"] = true
            if let size = terminal?.size { process["consoleSize"] = ["height": Int(size.rows), "width": Int(size.columns)] }
            root["process"] = process
        }
        guard let bytes = try? JSONSerialization.data(withJSONObject: root, options: [.sortedKeys, .withoutEscapingSlashes]) else {
            throw VirtualMachineError("write the configuration", "", "it cannot be encoded")
        }
        return Array(bytes)
    }

    // MARK: The run

    /// Has the run tell us what we need, and leave the container's output to us.
    func prepare(_ options: inout RunOptions) throws(VirtualMachineError) {
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        guard null >= 0 else { throw VirtualMachineError("open", "/dev/null", "it cannot be opened") }
        // The session log is checked all the same: the exit status says so if it is not whole.
        (options.stdout, options.stderr) = (null, null)
        options.onSet = { [self] key, value in
            guard key == Self.hostKeysKey else { return }
            let lines = String(decoding: value, as: UTF8.self).split(whereSeparator: \.isNewline)
            let keys = lines.compactMap { try? PublicKey(line: String($0)) }
            lock.withLock { hostKeys = keys }
        }
        options.onStart = { [self] path in start(path) }
        options.onSignal = { [self] number in
            // The client reads them in time; what does not fit is a change of size after another.
            var byte = UInt8(clamping: number)
            var watched = pollfd(fd: signalOutput, events: Int16(POLLOUT), revents: 0)
            if poll(&watched, 1, 0) > 0 { _ = write(signalOutput, &byte, 1) }
        }
    }

    private func start(_ path: String) {
        let signals = [SIGWINCH, SIGCONT]
        _ = hostprocess_watch_more_signals(signals, Int32(signals.count))
        lock.withLock { isStarted = true }
        let thread = Thread { [self] in
            let result: Result<AttachOutcome, AttachError>
            do throws(AttachError) { result = .success(try attach(path)) } catch { result = .failure(error) }
            let isFirst = lock.withLock { () -> Bool in
                self.result = result
                return !hasEnded
            }
            if isFirst { stopIfNeeded(result) }
            done.signal()
        }
        thread.start()
    }

    private func attach(_ path: String) throws(AttachError) -> AttachOutcome {
        var target = AttachTarget(endpoint: .socket(path: path), hostKeys: .verified { [self] in objection(to: $0) })
        target.identities = Identities(keys: [.held(key)])
        target.synchronisationMilliseconds = nil
        // From the first byte: what is not kept of it any more, because the first answer was lost, is told.
        var options = AttachOptions(.attach(session: "", stdoutFrom: "0", stderrFrom: "0"))
        options.wantsInput = isInteractive
        // One that nobody reads stays as it is, so that Ctrl-C is a signal.
        options.terminal = hasTerminal && isInteractive ? LocalTerminal(0) : nil
        // A session that was left would have nobody who ends the VM.
        options.detachKeys = .none
        options.signals = signalInput
        options.triesFirst = true
        options.isHopeless = { [self] in lock.withLock { hasEnded } }
        options.log = { StandardErrorLogHandler.say($0) }
        return try AttachSession(target, options).run()
    }

    private func objection(to key: PublicKey) -> String? {
        let deadline = Deadline.after(milliseconds: Self.patience)
        while true {
            let known = lock.withLock { hostKeys }
            if known.contains(key) { return nil }
            if !known.isEmpty { return "the host key \(key.fingerprint) is not the one that the guest published" }
            if deadline.hasPassed || lock.withLock({ hasEnded }) { return "the guest did not publish its host key" }
            usleep(20_000)
        }
    }

    /// Without us nobody would let the container begin, or take its output.
    private func stopIfNeeded(_ result: Result<AttachOutcome, AttachError>) {
        switch result {
        case .success(.exited): return
        case .success: break
        case .failure(let error): StandardErrorLogHandler.say(error)
        }
        kill(getpid(), SIGTERM)
    }

    /// Waits until everything is written.
    /// - Parameter code: what the run makes of the VM's end.
    /// - Returns: the exit code for this process.
    func finish(_ code: Int32) -> Int32 {
        let (wasStarted, wasOver) = lock.withLock {
            defer { hasEnded = true }
            return (isStarted, result != nil)
        }
        guard wasStarted else { return code }
        done.wait()
        terminal?.restore()
        guard case .failure(let error)? = lock.withLock({ result }) else { return code }
        // A client that failed first has told so, and had the VM stopped: what that made of the container does not count.
        if wasOver, code != ContainerRun.timeoutCode {
            if case .interrupted = error { return code }
            return ContainerRun.failureCode
        }
        // A VM that was stopped or failed has told so itself.
        if code == ContainerRun.timeoutCode || code == ContainerRun.failureCode || code >= 128 { return code }
        StandardErrorLogHandler.say(error)
        return ContainerRun.failureCode
    }
}
