import CLinux
import CSpawn
import ContainerSpec
public import Linux

/// Hooks of one kind after another, each within its time.
///
/// Nothing here blocks: call ``step()`` when ``descriptor`` is readable, and when ``deadline`` passes.
public final class HookRun {
    /// A hook, and where it runs.
    struct Item {
        /// The list it stands in: "createRuntime".
        var kind: String
        var hook: ContainerHook
        var place: Place
        /// What it reads as its standard input.
        var state: [UInt8]
    }

    enum Place {
        /// PID 1's own namespaces.
        case runtime
        /// The namespaces of the container, with PID 1's identity.
        case namespaces(JoinTarget)
        /// The container, as its process.
        case container(JoinTarget, ProcessPlan)
    }

    public enum Progress: Equatable, Sendable {
        case waiting
        /// All have run. What failed of those that may.
        case finished(failures: [LaunchError])
    }

    /// The most that is kept of what a hook writes, in bytes.
    public static let outputLimit = 2048

    private var items: [Item]
    private let stopsAtFailure: Bool
    private var failures: [LaunchError] = []
    private var current: Running?
    /// What runs is watched here.
    private var ready: Epoll?
    /// Killed, and perhaps not gone yet.
    private(set) var killed: [Child] = []

    /// How long a monitor may take to be gone, in milliseconds.
    private static let endPatience: Int64 = 1000

    /// A hook that runs.
    private final class Running {
        let item: Item
        let child: Child
        let plan: ProcessPlan
        let output: FileDescriptor
        /// When it has to have ended; once it has, when its monitor has to be gone.
        var deadline: Deadline
        var text: [UInt8] = []
        var failure: LaunchError?
        var hasEnded = false

        init(_ item: Item, _ child: Child, _ plan: ProcessPlan, output: consuming FileDescriptor) {
            self.item = item
            self.child = child
            self.plan = plan
            self.output = output
            deadline = Deadline.after(milliseconds: item.hook.timeoutSeconds &* 1000)
        }
    }

    /// - Parameter stopsAtFailure: a hook that fails is the last.
    init(_ items: [Item], stopsAtFailure: Bool) {
        self.items = items
        self.stopsAtFailure = stopsAtFailure
        do throws(SyscallError) { ready = try Epoll() } catch {
            self.items = []
            failures = [LaunchError("run \(items.first?.kind ?? "") hooks", "", LaunchError(error).description)]
        }
    }

    deinit { abandon() }

    /// Readable when ``step()`` has something to do; the same as long as the run lives.
    public var descriptor: Int32 { ready?.rawValue ?? -1 }

    /// When ``step()`` has something to do in any case: before the first hook, now.
    public var deadline: Deadline { current?.deadline ?? Deadline(nanoseconds: 0) }

    /// Goes on as far as that is possible at once.
    public func step() -> Progress {
        while true {
            if let running = current {
                if !advance(running) { return .waiting }
                unwatch(running)
                current = nil
                if let failure = running.failure {
                    failures.append(failure)
                    if stopsAtFailure { items = [] }
                }
            } else if items.isEmpty {
                return .finished(failures: failures)
            } else {
                start(items.removeFirst())
            }
        }
    }

    /// Kills what runs, and starts nothing more.
    public func abandon() {
        items = []
        guard let running = current else { return }
        unwatch(running)
        kill(running)
        killed.append(running.child)
        current = nil
    }

    // MARK: One hook

    private func start(_ item: Item) {
        do throws(LaunchError) { current = try launch(item) } catch {
            failures.append(LaunchError("run \(item.kind) hook", item.hook.path, error.description))
            if stopsAtFailure { items = [] }
        }
    }

    private func launch(_ item: Item) throws(LaunchError) -> Running {
        let plan: ProcessPlan
        var spawn = cspawn_plan.empty
        switch item.place {
        case .runtime: plan = try ProcessPlan(item.hook)
        case .namespaces(let target):
            plan = try ProcessPlan(item.hook)
            target.fill(&spawn)
        case .container(let target, let process):
            plan = process
            target.fill(&spawn)
        }
        let state = try mapped { () throws(SyscallError) in try FileDescriptor.inMemory(item.state, name: "state of the container") }
        let (read, write) = try mapped { () throws(SyscallError) in try Pipe().take() }
        let output = FileDescriptor(owning: read)
        let written = FileDescriptor(owning: write)
        try mapped { () throws(SyscallError) in try output.setNonBlocking() }
        spawn.hook = 1
        spawn.set_oom_score = 1
        spawn.process = plan.pointer
        spawn.streams.standard = (state.rawValue, written.rawValue, written.rawValue)
        let child = try Child.spawn(
            "hook \(item.hook.path)", spawn, keeping: [state.rawValue, written.rawValue, spawn.join_pidfd])
        let running = Running(item, child, plan, output: output)
        do throws(SyscallError) {
            try ready?.add(child.descriptor, .readable, token: 0)
            try ready?.add(child.pidfd, .readable, token: 1)
            try ready?.add(running.output.rawValue, .readable, token: 2)
            return running
        } catch {
            kill(running)
            killed.append(child)
            throw LaunchError(error)
        }
    }

    /// Before they are closed: a descriptor that another process has a copy of stays in the set otherwise.
    private func unwatch(_ running: Running) {
        try? ready?.remove(running.child.descriptor)
        try? ready?.remove(running.child.pidfd)
        try? ready?.remove(running.output.rawValue)
    }

    /// - Returns: whether it has ended, and its monitor is gone.
    private func advance(_ running: Running) -> Bool {
        readOutput(running)
        while !running.hasEnded {
            switch running.child.receive() {
            case .none:
                if !running.deadline.hasPassed { return false }
                kill(running)
                end(running, "it has not ended within \(running.item.hook.timeoutSeconds) s")
            case .report(let report, let descriptor):
                if descriptor >= 0 { _ = close(descriptor) }
                take(report, running)
            case .closed, .unreadable:
                kill(running)
                end(running, "its monitor ended")
            }
        }
        // Nothing more of the socket is of interest, and it is readable for ever when the monitor has closed its end.
        try? ready?.remove(running.child.descriptor)
        if running.child.isGone() { return true }
        if !running.deadline.hasPassed { return false }
        killed.append(running.child)
        return true
    }

    private func take(_ report: cspawn_report, _ running: Running) {
        if report.step == Int32(CSPAWN_HOOK_ENDED.rawValue) {
            readOutput(running)
            let ended = ProcessEnd(waitStatus: report.error)
            if let signal = ended.signal {
                end(running, "signal \(Signal(rawValue: signal)?.name ?? "\(signal)") ended it")
            } else {
                end(running, ended.exitStatus == 0 ? nil : "it exited with status \(ended.exitCode)")
            }
        } else if report.step >= Int32(CSPAWN_CLOSE.rawValue) && running.failure == nil {
            // The report of a step that failed comes before the end of the child it failed in.
            let error = LaunchError(report, root: nil, process: running.plan, object: running.item.hook.path)
            running.failure = LaunchError("run \(running.item.kind) hook", running.item.hook.path, error.description)
        }
    }

    /// - Parameter cause: why it failed, if it did, and nothing is known that comes before.
    private func end(_ running: Running, _ cause: String?) {
        running.hasEnded = true
        running.deadline = Deadline.after(milliseconds: HookRun.endPatience)
        guard let cause, running.failure == nil else { return }
        let text = HookRun.printable(running.text)
        running.failure = LaunchError(
            "run \(running.item.kind) hook", running.item.hook.path, text.isEmpty ? cause : "\(cause); it wrote: \(text)")
    }

    /// Not until there is none: a hook may write faster than this reads, for as long as it has.
    private func readOutput(_ running: Running) {
        for _ in 0..<16 {
            guard let bytes = try? running.output.read(atMost: 4096) else { return }
            if bytes.isEmpty {
                // It stays readable, and would wake the caller for ever.
                try? ready?.remove(running.output.rawValue)
                return
            }
            running.text.append(contentsOf: bytes.prefix(max(0, HookRun.outputLimit - running.text.count)))
        }
    }

    /// Kills the hook and what it started: the monitor leads their process group. The group's number cannot be another's as long as
    /// the monitor is there.
    private func kill(_ running: Running) {
        if !running.child.isGone() { _ = CLinux.kill(-running.child.pid, SIGKILL) }
        running.child.kill()
    }

    // MARK: Output

    /// One line without control characters: it goes into records and messages.
    private static func printable(_ bytes: [UInt8]) -> String {
        var line: [UInt8] = []
        for byte in bytes {
            let isControl = byte < 0x20 || byte == 0x7F
            if isControl && (line.isEmpty || line.last == 0x20) { continue }
            line.append(isControl ? 0x20 : byte)
        }
        while line.last == 0x20 { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
    }
}
