import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// The wait of a container for a client to attach (`attach.wait`). The container is created meanwhile, but for its process: others can
/// be started in it.
struct Holding {
    /// When it is started without one; nil waits for ever, or not at all.
    fileprivate(set) var until: Int64?
    /// A client is waited for.
    fileprivate(set) var isActive = false
    /// Holds for good: a container that is started again does not wait again.
    fileprivate(set) var isOver = false
    /// What a client said of the terminal before there was one.
    fileprivate(set) var consoleSize: ConsoleSize?
    /// The modes of the terminal of the client that has the process started; they hold where it is started again, too.
    fileprivate(set) var terminalModes = TerminalSettings()
}

extension Lifecycle {
    /// Begins to wait for a client, where the configuration says so.
    func holdIfWanted() {
        guard let attach = runtime.spec.tether.attach, attach.waits, !holding.isOver else { return }
        holding.isActive = true
    }

    /// The container waits. It is created, unless it has no init that could wait.
    func hold() {
        stage = .held
        if renewHeld() { return }
        let seconds = runtime.spec.tether.attach?.waitTimeoutSeconds ?? 0
        if seconds > 0 && holding.until == nil { holding.until = Clock.monotonic() &+ seconds &* 1_000_000_000 }
        runtime.status.isWaiting = true
        runtime.status.publish()
        runtime.diagnostics.info("waiting for a client to attach")
        // Nothing else has to wait, but what came in the hope that there would be a container.
        if launch == nil { runtime.execs.refuseReleased() }
        runtime.containerCreated()
    }

    /// Whether processes can be started beside the container's own: it runs, or is being started, and what others join is there.
    var takesProcesses: Bool { isRunning || isCreated }

    /// Whether processes can soon be started in it, or are told that it has failed.
    var isBeingMade: Bool {
        switch stage {
        case .preparing, .clearing, .launching: !isCreated
        case .ending: isRenewed
        case .held, .running, .resting, .over: false
        }
    }

    /// What a further process takes what it does not say from: the configuration of the container that it will run in.
    var execSpec: ContainerSpec { isRenewed || stage == .preparing ? runtime.spec : launched }

    private var isCreated: Bool { (stage == .held || stage == .launching) && launch?.isCreated == true }

    /// Starts a process in the container.
    /// - Returns: nil when there is no container to start it in.
    func execute(_ process: ContainerProcess, _ placement: Placement) throws(LaunchError) -> ProcessLaunch? {
        if isCreated { return try launch?.execute(process, placement: placement) }
        return isRunning ? try container?.execute(process, placement: placement) : nil
    }

    /// A client wants the process to be started.
    /// - Parameter modes: for its terminal; of the client that is the first to ask.
    /// - Returns: false when it is too late.
    func release(_ modes: TerminalSettings) -> Bool {
        if stage == .over { return false }
        if holding.isActive { holding.terminalModes = modes }
        endHold("a client attached")
        return true
    }

    func checkHold(_ now: Int64) {
        if let due = holding.until, due <= now { endHold("no client attached in time") }
    }

    private func endHold(_ why: String) {
        holding.isOver = true
        if !stopHolding() { return }
        runtime.diagnostics.info("\(why): starting the container")
        runtime.status.publish()
        // One that could not be created anew when the configuration was read may have no processes by now.
        if renewHeld() { return }
        guard stage == .held || stage == .launching else { return }
        if launch == nil { return makeGroup() }
        stage = .launching
        launch?.release(size: holding.consoleSize, modes: holding.terminalModes)
        stepLaunch()
    }

    /// There is nothing to wait for any more.
    /// - Returns: whether there was.
    @discardableResult func stopHolding() -> Bool {
        guard holding.isActive else { return false }
        holding.isActive = false
        holding.until = nil
        runtime.status.isWaiting = false
        return true
    }

    /// The configuration was read anew while the container waits. What of it the container was created with cannot change in one in
    /// which processes run.
    /// - Returns: whether it is created anew.
    @discardableResult func renewHeld() -> Bool {
        guard stage == .held || stage == .launching && !isCreated && !isRenewed, isOutdated else { return false }
        if stage == .held, runtime.execs.launched > 0 || hasProcesses {
            runtime.diagnostics.warning("the container is left as it was created, for processes run in it")
            return false
        }
        runtime.status.isWaiting = false
        renew()
        return true
    }

    /// The configuration was read anew since the start began.
    var isOutdated: Bool { Lifecycle.creation(launched) != Lifecycle.creation(runtime.spec) }

    /// What a container is created with: the rest of a configuration holds at once, or from its end on.
    private static func creation(_ spec: ContainerSpec) -> ContainerSpec {
        var (creation, tether) = (spec, TetherSettings())
        tether.id = spec.tether.id
        tether.usesInit = spec.tether.usesInit
        tether.stdin = spec.tether.stdin
        creation.tether = tether
        creation.resources = ContainerResources()
        return creation
    }

    /// Whether something is left of processes that clients have started.
    private var hasProcesses: Bool { launch != nil && (try? runtime.groups.container.events())?.populated ?? false }

    /// The size of a terminal whose process is still to be started.
    func setConsoleSize(rows: UInt16, columns: UInt16) { holding.consoleSize = ConsoleSize(rows: rows, columns: columns) }
}
