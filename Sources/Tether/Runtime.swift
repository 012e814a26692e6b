import CLinux
import Cgroups
import Container
import ContainerSpec
import Control
import KernelModules
import Linux
import SessionLog
import Sessions

/// The VM from the moment its root is mounted: one thread, one event loop, no call that waits but epoll_wait(2).
///
/// It owns the parts and gives each its turn; what they do is in their own files. They live as long as PID 1 does, so that they
/// refer to each other harms nobody.
final class Runtime: EventHandler {
    private enum Role: Int32 { case stops, log, diagnostics, drivers }

    /// The configuration; what of it the container runs with is ``Lifecycle/launched``.
    var spec: ContainerSpec
    let loop: EventLoop
    let stops: StopRequests
    let log: SessionLogWriter
    let diagnostics: Diagnostics
    let status: StatusReporter
    let groups: CgroupHierarchy
    let modules: ModuleLoader
    let readSpec: () throws(Failure) -> ContainerSpec
    private let buffer = ReadBuffer()

    private(set) lazy var lifecycle = Lifecycle(self, session: makePrimarySession())
    private(set) lazy var execs = Execs(self)
    private(set) lazy var health = HealthChecks(self)
    private(set) lazy var freezer = Freezer(self)
    private(set) lazy var control = ControlServer(self)
    private(set) lazy var networks = Networks(self)
    /// nil where the configuration is not VIC's.
    var vic: VICSessions?

    private var drivers: HardwareDrivers?
    private var driversWatch: EventLoop.Watch?
    private var logWatch: EventLoop.Watch?
    private var diagnosticsWatch: EventLoop.Watch?
    private var toldLostEvents = 0
    /// More children than are taken in one turn may have ended: SIGCHLD has been taken already.
    private var mayReapMore = false
    /// The most children taken in one turn: in a container without a PID namespace, one process after another can become an orphan,
    /// for ever.
    private static let reapedAtOnce = 256
    /// Processes that ended as PID 1's children without having been started by it.
    private(set) var orphans = 0

    /// - Parameter readSpec: reads the configuration anew.
    init(
        _ spec: ContainerSpec, groups: CgroupHierarchy, modules: ModuleLoader, stops: StopRequests, log: SessionLogWriter,
        diagnostics: Diagnostics, status: StatusReporter, readSpec: @escaping () throws(Failure) -> ContainerSpec
    ) throws(SyscallError) {
        self.spec = spec
        self.groups = groups
        self.modules = modules
        self.stops = stops
        self.log = log
        self.diagnostics = diagnostics
        self.status = status
        self.readSpec = readSpec
        loop = try EventLoop()
    }

    var isPaused: Bool { freezer.isPaused }

    /// Runs until the container has ended for good.
    func run() throws(SyscallError) -> Lifecycle.Outcome {
        status.loopBegins()
        _ = loop.watch(stops.descriptor, .readable, self, role: Role.stops.rawValue)
        networks.begin()
        // Signals that came before this were taken while booting: a stop may have been asked for.
        reap()
        stopIfRequested()
        while true {
            if let outcome = lifecycle.outcome { return outcome }
            try turn(until: nil)
        }
    }

    /// Gives the clients what is still theirs. For as long as they take it, and no longer than the output may be drained.
    func linger() {
        let deadline = Deadline.after(milliseconds: spec.tether.drain.deadlineSeconds &* 1000)
        // A process that SIGKILL has not ended will not end now: who follows it is not kept waiting for that.
        let lastWords = Deadline.after(milliseconds: spec.tether.sessions.slowClientSeconds &* 1000)
        networks.close()
        while !(control.isClosed && networks.isClosed) && !deadline.hasPassed {
            control.close("the VM powers off", whoeverFollows: execs.running > 0 && lastWords.hasPassed)
            do throws(SyscallError) { try turn(until: Clock.monotonic() &+ 100_000_000) } catch {
                return diagnostics.warning(error.description)
            }
        }
    }

    private func turn(until limit: Int64?) throws(SyscallError) {
        updatePorts()
        try loop.turn(until: mayReapMore ? 0 : nextDeadline.earlier(limit))
        if mayReapMore { reap() }
        let now = Clock.monotonic()
        log.flushDue()
        if log.lostEvents > toldLostEvents && !log.isFull {
            diagnostics.warning("session log: \(log.lostEvents - toldLostEvents) events were lost while the port took nothing")
            toldLostEvents = log.lostEvents
        }
        lifecycle.session.checkDeadlines(now)
        for exec in execs.all { exec.session.checkDeadlines(now) }
        lifecycle.checkDeadlines(now)
        execs.checkDeadlines(now)
        health.checkDeadlines(now)
        freezer.checkDeadlines(now)
        vic?.checkDeadlines(now)
        networks.checkDeadlines(now)
        status.checkDeadlines(now)
        control.turnEnded(now)
    }

    private var nextDeadline: Int64? {
        var next = log.nextDue.earlier(lifecycle.session.nextDeadline).earlier(lifecycle.nextDeadline)
        for exec in execs.all { next = next.earlier(exec.session.nextDeadline) }
        return next.earlier(execs.nextDeadline).earlier(health.nextDeadline).earlier(freezer.nextDeadline).earlier(control.nextDeadline)
            .earlier(vic?.nextDeadline).earlier(networks.nextDeadline).earlier(status.nextDeadline)
    }

    // MARK: Sessions

    func makeSession(
        id: String, kind: SessionSummary.Kind, args: [String], mayTakeInput: Bool, wantsTerminal: Bool, endsInputWithClient: Bool,
        log: (any OutputLog)?
    ) -> Session {
        Session(
            id: id, kind: kind, args: Runtime.bounded(args), limits: sessionLimits, mayTakeInput: mayTakeInput,
            wantsTerminal: wantsTerminal, endsInputWithClient: endsInputWithClient, loop: loop, log: log, buffer: buffer)
    }

    var sessionLimits: SessionLimits {
        var limits = SessionLimits()
        limits.ringCapacity = Int(clamping: spec.tether.sessions.ringKiB &* 1024)
        limits.slowClient = spec.tether.sessions.slowClient == .block ? .block : .detach
        limits.stallMilliseconds = spec.tether.sessions.slowClientSeconds &* 1000
        limits.drainGrace = spec.tether.drain.graceMilliseconds
        limits.drainDeadline = spec.tether.drain.deadlineSeconds &* 1000
        return limits
    }

    private func makePrimarySession() -> Session {
        makeSession(
            id: spec.tether.id, kind: .primary, args: spec.process.args,
            mayTakeInput: spec.process.terminal || spec.tether.stdin != .none, wantsTerminal: spec.process.terminal,
            endsInputWithClient: spec.tether.stdin == .once, log: log)
    }

    // MARK: What the parts tell each other

    /// The container is there, but for its process, which waits for a client.
    func containerCreated() {
        clinux_release_free_memory()
        loadDrivers()
        vic?.containerCreated()
        control.sessionsChanged()
    }

    func containerStarted() {
        // What the start took is not needed again soon.
        clinux_release_free_memory()
        loadDrivers()
        health.containerStarted()
        vic?.containerStarted()
        control.sessionsChanged()
    }

    /// Loads the other drivers. Only now, beside the container: it does not wait for drivers that it may never need.
    func loadDrivers() {
        guard drivers == nil else { return }
        drivers = HardwareDrivers(modules, diagnostics)
        watchDrivers()
    }

    func containerEnded() {
        health.containerEnded()
        execs.containerEnded()
        control.sessionsChanged()
    }

    /// Lets a paused container run on.
    func setFrozen(_ frozen: Bool) { if !frozen { freezer.thaw() } }

    /// Limits the container to what the configuration gives it.
    /// - Returns: what cannot be had as it was asked for.
    static func limit(_ groups: CgroupHierarchy, _ resources: ContainerResources) throws(CgroupError) -> [String] {
        let plan = try ResourcePlan(resources, ceilings: groups.ceilings)
        try groups.apply(plan)
        return plan.notes
    }

    // MARK: Events

    func ready(role: Int32, _ event: Epoll.Event) {
        switch Role(rawValue: role) {
        case .stops: takeStops()
        case .log: log.flush()
        case .diagnostics: diagnostics.flush()
        case .drivers: takeDrivers()
        case nil: break
        }
    }

    private func takeStops() {
        if stops.take() { reap() }
        if stops.takeReload() { _ = reload() }
        stopIfRequested()
    }

    private func stopIfRequested() {
        guard let reason = stops.reason, !lifecycle.stopping.isAsked else { return }
        lifecycle.stop(reason)
    }

    /// Takes ended children: processes, workers, helpers, and orphans that came to us.
    private func reap() {
        mayReapMore = true
        for _ in 0..<Runtime.reapedAtOnce {
            guard let child = Children.reapOne() else {
                mayReapMore = false
                return
            }
            if take(child) { continue }
            // A process may end before its start was noticed. What told of its start is there now.
            lifecycle.stepLaunch()
            execs.stepLaunches()
            if !take(child) {
                orphans &+= 1
                diagnostics.debug("reaped pid \(child.pid)")
            }
        }
    }

    private func take(_ child: Children.Ended) -> Bool {
        lifecycle.reaped(child) || execs.reaped(child) || control.reaped(child) || networks.reaped(child)
    }

    /// Watches the ports that have something to get rid of.
    private func updatePorts() {
        update(&logWatch, log.wantsToWrite, log.descriptor, .log)
        update(&diagnosticsWatch, diagnostics.wantsToWrite, diagnostics.descriptor, .diagnostics)
    }

    private func update(_ watch: inout EventLoop.Watch?, _ wanted: Bool, _ descriptor: Int32, _ role: Role) {
        if wanted, watch == nil {
            watch = loop.watch(descriptor, .writable, self, role: role.rawValue)
        } else if !wanted, let current = watch {
            loop.unwatch(current)
            watch = nil
        }
    }

    // MARK: Drivers

    private func watchDrivers() {
        if let descriptor = drivers?.descriptor { driversWatch = loop.watch(descriptor, .readable, self, role: Role.drivers.rawValue) }
    }

    /// The loading of the other drivers made progress.
    private func takeDrivers() {
        // The worker changes what it is watched by when its messages are all there.
        if let driversWatch { loop.unwatch(driversWatch) }
        driversWatch = nil
        drivers?.step()
        watchDrivers()
    }

    // MARK: Text

    /// Arguments short enough for one record.
    static func bounded(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var room = 4096
        for argument in arguments {
            room -= argument.utf8.count + 4
            if room < 0 { return result + ["…"] }
            result.append(argument)
        }
        return result
    }

    /// The beginning of `text` on one line: what the container wrote must not look like a line of ours.
    static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(256).map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
    }
}
