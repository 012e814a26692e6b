import CLinux
import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import Seccomp
import SessionLog
import Sessions

/// The container from its first start to its last end: starts it, stops it, and starts it again where its policy says so.
///
/// One step after another, none of which waits: what takes time is a descriptor in the event loop and a deadline.
final class Lifecycle: EventHandler, SessionOwner {
    enum Stage {
        /// Compiles the seccomp profile.
        case preparing
        /// Waits for the last process of the run before to be gone.
        case clearing
        case launching
        /// The container is created, and its process waits for a client to attach.
        case held
        /// The process runs, or its output is drained.
        case running
        /// Waits for the sessions beside it to end, then runs the poststop hooks.
        case ending
        /// Waits until the process is started again.
        case resting
        case over
    }

    /// How it came out.
    enum Outcome {
        /// The container ran, and this is its last end.
        case ended(ExitRecord)
        case failed(Failure)
    }

    private enum Role: Int32 { case filter, launch }

    /// How long the processes of a run that ended may take to disappear, and a process to end after SIGKILL, in milliseconds. One
    /// that hangs in the kernel never does.
    static let killPatience: Int64 = 10_000

    let runtime: Runtime
    /// The primary session, which goes through all starts.
    let session: Session
    var stage = Stage.preparing
    private(set) var outcome: Outcome?
    private(set) var container: RunningContainer?
    private(set) var group: Cgroup?
    /// The configuration that the container was started with; what is read anew meanwhile holds from the next start on.
    private(set) var launched: ContainerSpec
    var restart: RestartTracker

    private let filterPreparation: FilterPreparation
    private(set) var launch: ContainerLaunch?
    private let poststart: HookWatch
    private let poststop: HookWatch
    private var stepper = Stepper()
    private var clearDeadline = Deadline(nanoseconds: 0)
    /// When the sessions beside the container process have to have ended; nil once that is settled.
    private var endDeadline: Deadline?
    private var restAfter: Int64 = 0
    /// The wait for a client to attach.
    var holding = Holding()
    private var startedAt: Int64 = 0
    private var ranFor: Int64 = 0
    /// What else went wrong with a container that ran.
    var trouble: FailureReport?

    /// Why the start under way comes to nothing, where it does.
    var aborting = Aborting()
    /// How far a stop has come.
    var stopping = Stopping()

    init(_ runtime: Runtime, session: Session) {
        self.runtime = runtime
        self.session = session
        launched = runtime.spec
        restart = RestartTracker(policy: runtime.spec.tether.restart)
        filterPreparation = FilterPreparation(runtime.diagnostics)
        poststart = HookWatch(runtime.loop, runtime.diagnostics)
        poststop = HookWatch(runtime.loop, runtime.diagnostics)
        session.owner = self
        poststop.ended = { self.decide() }
    }

    var spec: ContainerSpec { runtime.spec }
    var filter: SyscallFilter? { filterPreparation.filter }
    var isRunning: Bool { stage == .running && session.state == .running }

    // MARK: Starting

    /// Begins with a start: the first, or a further one.
    func begin() {
        stage = .preparing
        launched = spec
        runtime.status.enter(.launching)
        prepareFilter { () throws(SeccompError) in try filterPreparation.begin(launched) }
    }

    private func prepareFilter(_ goOn: () throws(SeccompError) -> Bool) {
        stepper.pause(runtime.loop)
        do throws(SeccompError) {
            if try goOn() { return startContainer() }
            stepper.resume(runtime.loop, filterPreparation.descriptor, self, role: Role.filter.rawValue)
        } catch {
            fail(Failure(error))
        }
    }

    func abandonPreparation() {
        filterPreparation.abandon()
        stepper.pause(runtime.loop)
    }

    private func stepFilter() { prepareFilter { () throws(SeccompError) in try filterPreparation.step() } }

    /// Starts the process, once nothing is left of a run before.
    private func startContainer() {
        holdIfWanted()
        if holding.isActive && !ContainerLaunch.canBeHeld(launched) { hold() } else { makeGroup() }
    }

    /// Makes the container's control group; the launch follows.
    func makeGroup() {
        stage = .clearing
        clearDeadline = .after(milliseconds: Lifecycle.killPatience)
        clear()
    }

    private func clear() {
        do throws(CgroupError) {
            group = try runtime.groups.makeSession("main", isContainerRoot: true)
            launchContainer()
        } catch {
            if error.errno?.rawValue == EBUSY && !clearDeadline.hasPassed { return }
            fail(Failure(error))
        }
    }

    private func launchContainer() {
        if isOutdated { return begin() }
        stage = .launching
        runtime.status.enter(.launching)
        saveRecoveryState(.launching, nil, 0)
        let process = launched.process
        session.args = Runtime.bounded(process.args)
        session.wantsTerminal = process.terminal
        session.mayTakeInput = process.terminal || launched.tether.stdin != .none
        session.endsInputWithClient = launched.tether.stdin == .once
        let streams: Placement.Streams =
            process.terminal
            ? .terminal(holding.consoleSize ?? process.consoleSize, holding.terminalModes)
            : .pipes(stdin: launched.tether.stdin != .none)
        let placement = Placement(
            cgroup: group?.descriptor ?? -1, holderCgroup: runtime.groups.tether.descriptor, streams: streams, filter: filter)
        do throws(LaunchError) {
            launch = try ContainerLaunch.start(
                runtime.networks.completed(launched), root: Shutdown.rootfs, placement: placement, isHeld: holding.isActive)
            stepLaunch()
        } catch {
            fail(Failure(error))
        }
    }

    /// Goes on with a launch that is under way. Also called when an unknown child ended: it may be the process, whose start has to
    /// be known first.
    func stepLaunch() {
        guard let launch else { return }
        stepper.pause(runtime.loop)
        switch launch.step() {
        case .waiting:
            stepper.resume(runtime.loop, launch.descriptor, self, role: Role.launch.rawValue)
            if holding.isActive && launch.isCreated && stage == .launching { hold() }
        case .failed(let error):
            self.launch = nil
            if aborting.why == nil { aborting.why = .failure(Failure(error)) }
            // A client may have started processes in it while it waited; what only waits can run in the next one.
            if !isRenewed {
                runtime.execs.containerEnded()
                stopHolding()
            }
            end()
        case .started(let container):
            self.launch = nil
            started(container)
        }
    }

    private func started(_ container: RunningContainer) {
        self.container = container
        aborting.why = nil
        stage = .running
        stopping.processIsAnother()
        startedAt = Clock.monotonic()
        session.begin(container.process)
        // One that was said while the process was being started; the kernel does nothing where it is the same.
        if let size = holding.consoleSize, session.wantsTerminal { try? container.process.resize(rows: size.rows, columns: size.columns) }
        let time = Timestamp(nanoseconds: session.startedAt)
        saveRecoveryState(.running, time, container.process.processID)
        runtime.status.pid = container.process.processID
        runtime.status.startedAt = time
        runtime.log.event(
            .start(id: spec.tether.id, pid: container.process.processID, args: session.args, startedAt: time))
        runtime.status.enter(.running)
        if let hooks = container.poststart() { poststart.start(hooks) }
        runtime.containerStarted()
        // A stop that was asked for while the last step of the start was under way.
        if stopping.isAsked { signalStop(spec.tether.stop.signal, spec.tether.stop.timeoutSeconds &* 1000) }
    }

    func saveRecoveryState(_ phase: Phase, _ startedAt: Timestamp?, _ process: Int32) {
        RecoveryState(spec, phase, startedAt, processID: process, vicSession: runtime.status.vic?.session).save()
    }

    /// The configuration was read anew.
    func configurationChanged() {
        restart.policy = spec.tether.restart
        if holding.isActive { renewHeld() }
        if isRunning { saveRecoveryState(.running, Timestamp(nanoseconds: session.startedAt), container?.process.processID ?? 0) }
    }

    // MARK: The end

    /// A child was reaped.
    /// - Returns: whether it was the container process.
    func reaped(_ child: Children.Ended) -> Bool {
        guard let container, container.process.processID == child.pid else { return false }
        processEnded(child.end, child.usage)
        return true
    }

    func processEnded(_ end: ProcessEnd, _ usage: ResourceUsage) {
        ranFor = Clock.monotonic() &- startedAt
        stopping.processIsAnother()
        // The group was made for this run, so what it has counted happened in this run.
        let killed = (try? group?.memoryEvents())??.oomKill ?? 0
        runtime.setFrozen(false)
        session.processEnded(end, usage, oomKilled: killed > 0)
        // The container ends with its process: the end of its PID namespace ends everything in it, as in Docker.
        container?.killNamespaces()
        runtime.containerEnded()
    }

    /// The output is drained.
    func sessionEnded(_ session: Session) {
        runtime.log.flushPartials()
        poststart.abandon()
        end()
    }

    private func end() {
        // What lives outside of a PID namespace had its grace period.
        try? runtime.groups.container.kill()
        stage = .ending
        endDeadline = .after(milliseconds: Lifecycle.killPatience)
        endOthers()
    }

    /// Goes on when no process is left in the container: how the exec sessions ended stands before how the container did, and hooks
    /// find nothing running.
    private func endOthers() {
        guard let deadline = endDeadline else { return }
        if runtime.execs.launched > 0 || (try? runtime.groups.container.events())?.populated ?? false {
            guard deadline.hasPassed else { return }
            runtime.diagnostics.error("processes of the container have not ended within \(Lifecycle.killPatience / 1000) s of SIGKILL")
        }
        endDeadline = nil
        if let hooks = HookRun.poststop(launched, root: Shutdown.rootfs) { poststop.start(hooks) } else { decide() }
    }

    /// Starts the container again, or ends with it.
    private func decide() {
        container = nil
        if let why = aborting.why {
            aborting.why = nil
            switch why {
            case .renewal: return begin()
            case .failure(let failure): return fail(failure)
            }
        }
        guard let result = session.result else { return over(.failed(Failure("run", spec.tether.id, "it has no result"))) }
        let before = restart.count
        let delay = restart.ended(exitCode: Int32(result.exitCode), ran: ranFor, stopped: stopping.isAsked)
        let record = record(result, restarts: before, error: trouble)
        guard let delay else { return over(.ended(record)) }
        runtime.status.pid = nil
        runtime.status.restarts = restart.count
        runtime.log.event(.die(record, restartMilliseconds: delay / 1_000_000))
        runtime.diagnostics.info("exit code \(record.exitCode); starting again in \(delay / 1_000_000) ms (restart \(restart.count))")
        runtime.control.notify(
            .restarting(count: UInt32(clamping: restart.count), delayMilliseconds: UInt64(clamping: delay / 1_000_000)))
        stage = .resting
        restAfter = Clock.monotonic() &+ delay
        runtime.status.enter(.launching)
    }

    /// Ends a start that cannot go on.
    func fail(_ failure: Failure) {
        // A stop while the container was being started again ends it as its last run did.
        if stopping.isAsked, let lastRecord { over(.ended(lastRecord)) } else { over(.failed(failure)) }
    }

    /// How the run before ended, when the container is being started again.
    var lastRecord: ExitRecord? {
        guard restart.count > 0, let result = session.result else { return nil }
        return record(result, restarts: restart.count &- 1, error: result.error)
    }

    private func record(_ result: SessionResult, restarts: Int64, error: FailureReport?) -> ExitRecord {
        var record = ExitRecord(result, restarts: restarts)
        record.id = spec.tether.id
        record.error = error
        return record
    }

    func over(_ outcome: Outcome) {
        stage = .over
        self.outcome = outcome
        launch = nil
        // What waits for a client, and has no container any more.
        runtime.execs.containerEnded()
        runtime.vic?.containerOver()
        runtime.control.sessionsChanged()
        // Clients are told why there was no process.
        if case .failed(let failure) = outcome, session.result == nil {
            session.fail(
                RequestFailure(
                    .launchFailed, exitCode: failure.exitCode, operation: failure.operation, object: failure.object, cause: failure.cause))
        } else {
            session.finish()
        }
    }

    // MARK: Events and deadlines

    func ready(role: Int32, _ event: Epoll.Event) {
        switch Role(rawValue: role) {
        case .filter: stepFilter()
        case .launch: stepLaunch()
        case nil: break
        }
    }

    var nextDeadline: Int64? {
        var next: Int64?
        switch stage {
        case .preparing: next = filterPreparation.deadline?.nanoseconds
        case .held: next = holding.until
        // Nothing is reaped when the last process is gone: the group is looked at until then.
        case .clearing: next = Clock.monotonic() &+ 20_000_000
        case .launching: next = launch?.deadline.nanoseconds
        case .running: next = stopping.next.earlier(poststart.deadline)
        case .ending: next = poststop.deadline ?? (Clock.monotonic() &+ 5_000_000)
        case .resting: next = restAfter
        case .over: break
        }
        return next
    }

    func checkDeadlines(_ now: Int64) {
        switch stage {
        case .preparing: if let due = filterPreparation.deadline, due.hasPassed { stepFilter() }
        case .held: checkHold(now)
        case .clearing: clear()
        case .launching: if let due = launch?.deadline, due.hasPassed { stepLaunch() }
        case .running:
            checkStop(now)
            poststart.checkDeadline()
        case .ending:
            endOthers()
            poststop.checkDeadline()
        case .resting: if restAfter <= now { begin() }
        case .over: break
        }
    }
}
