public import ContainerSpec
public import Linux

/// The start of a container: its namespaces, its root, its hooks, its first process.
/// In between it may be held, created but not started (the runtime-spec's `created`), and then processes can be started in it.
///
/// Nothing here blocks. Call ``step()`` when ``descriptor`` is readable and when ``deadline`` passes, until it says how it came out.
/// The descriptor stays the same, the deadline is another after every step; at first it has passed.
public final class ContainerLaunch {
    public enum Progress {
        case waiting
        case started(RunningContainer)
        /// Nothing is left of it: no process, and so no mount.
        case failed(LaunchError)
    }

    private let machine: LaunchMachine
    private let spec: ContainerSpec
    private let root: String
    private let rootPlan: RootPlan

    /// - Parameters:
    ///   - root: the mounted root file system, in the caller's view.
    ///   - placement: of the first process. The namespaces' init is made in its cgroup, too.
    ///   - isHeld: everything is made, and the first process is started by ``release(size:modes:)``; only where ``canBeHeld(_:)``.
    /// - Throws: ``LaunchError`` for what can be refused before anything is made.
    public static func start(
        _ spec: ContainerSpec, root: String, placement: Placement, isHeld: Bool = false
    ) throws(LaunchError) -> ContainerLaunch {
        let launch = try ContainerLaunch(spec, root, placement, isHeld)
        return launch
    }

    private init(_ spec: ContainerSpec, _ root: String, _ placement: Placement, _ isHeld: Bool) throws(LaunchError) {
        self.spec = spec
        self.root = root
        rootPlan = try RootPlan(spec, path: root)
        machine = try LaunchMachine(spec, spec.process, placement, root: rootPlan, target: nil, isHeld: isHeld)
    }

    /// Readable when ``step()`` has something to do.
    public var descriptor: Int32 { machine.descriptor }
    /// When ``step()`` has something to do in any case.
    public var deadline: Deadline { machine.nextDeadline }
    /// The process made last, which may end, and be reaped, before ``step()`` tells of it. nil before the first.
    public var processID: Int32? { machine.currentProcess?.pid }

    /// Goes on as far as that is possible at once.
    public func step() -> Progress {
        switch machine.step() {
        case .waiting: .waiting
        case .failed(let error): .failed(error)
        case .started(let process, let holder):
            .started(RunningContainer(spec, root: root, process: process, holder: holder, namespaces: rootPlan.joined))
        }
    }

    /// Whether a container can be there before its process is: with an init of ours, which others can join.
    public static func canBeHeld(_ spec: ContainerSpec) -> Bool { spec.tether.usesInit && spec.namespaces.pid }

    /// Whether the container is there, and processes can be started in it.
    public var isCreated: Bool { machine.joinable != nil }

    /// Has the first process started, now or as soon as the container is created. To be followed by ``step()``.
    /// - Parameters:
    ///   - size: its terminal's, if it is to be another than the placement says.
    ///   - modes: its terminal's.
    public func release(size: ConsoleSize?, modes: TerminalSettings = TerminalSettings()) { machine.release(size, modes) }

    /// Starts a process in a container that is created: before its own.
    ///
    /// - Throws: ``LaunchError`` for what can be refused before anything is made.
    public func execute(_ process: ContainerProcess, placement: Placement) throws(LaunchError) -> ProcessLaunch {
        guard let target = machine.joinable else { throw LaunchError("join namespaces", "container", "it is not created") }
        return try ProcessLaunch(spec, process, placement, target)
    }

    /// Kills everything begun. ``step()`` says that it failed, with this cause, as soon as all is gone: within two seconds. After that
    /// what is left hangs in the kernel.
    public func cancel(_ cause: String) { machine.cancel(cause) }
}

/// The start of a further process in a container; used as ``ContainerLaunch``.
public final class ProcessLaunch {
    public enum Progress {
        case waiting
        case started(SessionProcess)
        case failed(LaunchError)
    }

    private let machine: LaunchMachine

    init(
        _ spec: ContainerSpec, _ process: ContainerProcess, _ placement: Placement, _ target: JoinTarget
    ) throws(LaunchError) {
        machine = try LaunchMachine(spec, process, placement, root: nil, target: target)
    }

    public var descriptor: Int32 { machine.descriptor }
    public var deadline: Deadline { machine.nextDeadline }
    public var processID: Int32? { machine.currentProcess?.pid }

    public func step() -> Progress {
        switch machine.step() {
        case .waiting: .waiting
        case .failed(let error): .failed(error)
        case .started(let process, _): .started(process)
        }
    }

    public func cancel(_ cause: String) { machine.cancel(cause) }
}

/// A container whose first process was started.
public final class RunningContainer {
    /// The first process.
    public let process: SessionProcess
    private let spec: ContainerSpec
    private let root: String
    private let holder: Child?
    private let namespaces: UInt64

    init(_ spec: ContainerSpec, root: String, process: SessionProcess, holder: Child?, namespaces: UInt64) {
        self.spec = spec
        self.root = root
        self.process = process
        self.holder = holder
        self.namespaces = namespaces
    }

    /// The init of its PID namespace; nil where the process is that itself, or has no PID namespace of its own.
    public var holderID: Int32? { holder?.pid }

    /// Starts a process in all of the container's namespaces.
    ///
    /// - Throws: ``LaunchError`` for what can be refused before anything is made.
    public func execute(_ process: ContainerProcess, placement: Placement) throws(LaunchError) -> ProcessLaunch {
        try ProcessLaunch(
            spec, process, placement, JoinTarget(holder ?? self.process.child, namespaces: namespaces, cgroup: placement.cgroup))
    }

    /// The `poststart` hooks: to be run when the first process was started. One that fails does not keep the next from running.
    /// - Returns: nil if there are none.
    public func poststart() -> HookRun? {
        if spec.hooks.poststart.isEmpty { return nil }
        let state = ContainerState(spec, root: root, pid: process.processID).json("running")
        return HookRun(HookRun.items("poststart", spec.hooks.poststart, .runtime, state), stopsAtFailure: false)
    }

    /// Ends every process of the container's PID namespace, if it has one with an init of ours.
    public func killNamespaces() { holder?.kill() }
}
