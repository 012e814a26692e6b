import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions
import VIC

/// The sessions that VIC's keys want beside the container's own: starts those that are new, stops those that are not wanted any
/// more, and tells the portlayer of each.
final class VICSessions {
    private enum State {
        /// Waits until there is a container to run it in.
        case waiting(VICProcess)
        case starting(VICProcess)
        case running(VICProcess)
        /// It has ended, or will never start.
        case over
    }

    /// So many are launched at the same time. Many more on a busy machine would all take longer than a launch may.
    private static let launches = 8

    private let runtime: Runtime
    private let dialect: VICDialect
    private let reporter: VICReporter
    /// nil before the keys are read.
    let networks: VICNetworkReporter?
    private var states: [(id: String, state: State)] = []
    /// Sessions that were asked to stop, and when they are killed.
    private var stopping: [(id: String, due: Int64)] = []

    init(_ runtime: Runtime, _ dialect: VICDialect, _ reporter: VICReporter) {
        self.runtime = runtime
        self.dialect = dialect
        self.reporter = reporter
        networks = dialect.plan.map { VICNetworkReporter($0, reporter, runtime.diagnostics) }
        dialect.known = { id in self.knowledge(of: id) }
        take()
    }

    /// One that waits may change before it is started.
    private func knowledge(of id: String) -> VICKnowledge {
        switch state(of: id) {
        case nil, .waiting: .none
        case .starting, .running: .running
        case .over: .over
        }
    }

    private func state(of id: String) -> State? { states.first { $0.id == id }?.state }

    private func set(_ id: String, _ state: State) {
        if let index = states.firstIndex(where: { $0.id == id }) { states[index].state = state } else { states.append((id, state)) }
    }

    /// The keys were read (anew).
    func take() {
        guard let plan = dialect.plan else { return }
        dropAbsent(plan)
        for wanted in plan.others {
            switch state(of: wanted.id) {
            case nil, .waiting:
                if let problem = wanted.problem {
                    set(wanted.id, .over)
                    fail(wanted, "configuration of \(wanted.id): \(problem)", 125)
                } else if wanted.isActive {
                    set(wanted.id, .waiting(wanted))
                } else {
                    states.removeAll { $0.id == wanted.id }
                }
            case .starting(let process), .running(let process):
                if let problem = wanted.problem { runtime.diagnostics.warning("session \(wanted.id) is left as it is: \(problem)") }
                if !wanted.isActive { stop(process) }
            case .over: break
            }
        }
        startWaiting()
        if !plan.primary.active && !runtime.lifecycle.stopping.isAsked { runtime.lifecycle.stop("the configuration") }
    }

    /// What the host has taken away is not started any more. What runs is ended by `active`, as VIC's host has it.
    private func dropAbsent(_ plan: VICPlan) {
        for entry in states where !plan.others.contains(where: { $0.id == entry.id }) {
            if case .waiting = entry.state { states.removeAll { $0.id == entry.id } }
            if let exec = exec(entry.id), exec.isHeld { exec.cancel("it is not in the configuration any more") }
        }
    }

    /// The container is over, or was never started: so is what waited for it.
    func containerOver() {
        for entry in states {
            guard case .waiting(let wanted) = entry.state else { continue }
            set(entry.id, .over)
            fail(wanted, "start \(wanted.id): the container does not run", 125)
        }
    }

    /// The container is there, and its own process waits for a client: nothing else does.
    func containerCreated() { startWaiting() }

    /// The container runs.
    func containerStarted() {
        reporter.started(at: runtime.status.startedAt, resurrections: runtime.lifecycle.restart.count)
        startWaiting()
    }

    private func startWaiting() {
        guard runtime.lifecycle.takesProcesses else { return }
        for entry in states {
            // As it is now: one that fails at once lets the next one begin.
            guard case .waiting = entry.state, case .waiting(let wanted)? = state(of: entry.id), let process = wanted.process else {
                continue
            }
            if !wanted.waits && launching >= VICSessions.launches { continue }
            set(entry.id, .starting(wanted))
            start(wanted, process)
        }
    }

    private var launching: Int {
        states.count { if case .starting(let process) = $0.state { !process.waits } else { false } }
    }

    private func start(_ wanted: VICProcess, _ process: ContainerProcess) {
        if runtime.control.session(wanted.id) != nil { return refuse(wanted, "there is a session of this name") }
        let limit = Int(clamping: runtime.spec.tether.sessions.maxSessions)
        if runtime.execs.running >= limit - 1 { return refuse(wanted, "\(limit) sessions run, which is the most") }
        if wanted.waits {
            runtime.diagnostics.info("session \(wanted.id) waits for a client to join it")
            return runtime.execs.hold(process, name: wanted.id, wantsStdin: wanted.wantsStdin)
        }
        switch runtime.execs.start(process, name: wanted.id, wantsStdin: wanted.wantsStdin, endsInputWithClient: false, purpose: .client) {
        case .success: break
        case .failure(let failure):
            set(wanted.id, .over)
            fail(
                wanted,
                VICResults.reason(
                    failure.operation, failure.object, failure.cause, exitCode: failure.exitCode, directory: process.cwd), failure.exitCode)
        }
    }

    private func refuse(_ wanted: VICProcess, _ cause: String) {
        set(wanted.id, .over)
        fail(wanted, "start \(wanted.id): \(cause)", 125)
    }

    private func fail(_ wanted: VICProcess, _ reason: String, _ exitCode: UInt8) {
        runtime.diagnostics.warning("session \(wanted.id): \(reason)")
        reporter.write(
            results(wanted).failed(
                reason, status: Int64(exitCode), at: VICReporter.seconds(nil), created: wanted.createTime, endsVM: false),
            of: wanted.id)
    }

    private func results(_ wanted: VICProcess) -> VICResults { VICResults(id: wanted.id, isExec: wanted.isExec) }

    private func stop(_ process: VICProcess) {
        if stopping.contains(where: { $0.id == process.id }) { return }
        runtime.diagnostics.info("session \(process.id) is not active any more: sending \(process.stopSignal.name)")
        if let exec = exec(process.id), exec.isHeld { return exec.cancel("it is not active any more") }
        exec(process.id)?.signal(process.stopSignal)
        stopping.append((process.id, Clock.monotonic() &+ runtime.spec.tether.stop.timeoutSeconds &* 1_000_000_000))
    }

    private func exec(_ id: String) -> Exec? { runtime.execs.all.first { $0.session.id == id && $0.purpose == .client } }

    // MARK: What became of them

    /// The process of a session was started.
    func started(_ session: Session) {
        guard case .starting(let process) = state(of: session.id) else { return }
        set(session.id, .running(process))
        let time = Timestamp(nanoseconds: session.startedAt)
        reporter.write(
            results(process).started(at: VICReporter.seconds(time), created: process.createTime, resurrections: 0),
            of: session.id)
        // It may have been deactivated while it was being started.
        if stopping.contains(where: { $0.id == session.id }) { exec(session.id)?.signal(process.stopSignal) }
        startWaiting()
    }

    /// It could not be started.
    func failed(_ session: Session) {
        guard case .starting(let process) = state(of: session.id), let failure = session.startFailure else { return }
        set(session.id, .over)
        stopping.removeAll { $0.id == session.id }
        fail(
            process,
            VICResults.reason(
                failure.operation, failure.object, failure.cause, exitCode: failure.exitCode, directory: process.process?.cwd ?? "/"),
            failure.exitCode)
        startWaiting()
    }

    /// It has ended.
    func ended(_ session: Session) {
        guard case .running(let process) = state(of: session.id) else { return }
        set(session.id, .over)
        stopping.removeAll { $0.id == session.id }
        guard let result = session.result else { return }
        let start = VICReporter.seconds(Timestamp(nanoseconds: session.startedAt))
        reporter.write(
            results(process).ended(status: Int64(result.exitCode), at: VICReporter.seconds(result.finishedAt), startedAt: start),
            of: session.id)
    }

    // MARK: Deadlines

    var nextDeadline: Int64? {
        var next = reporter.nextDeadline
        for entry in stopping { next = next.earlier(entry.due) }
        return next
    }

    func checkDeadlines(_ now: Int64) {
        reporter.checkDeadlines(now)
        for entry in stopping where entry.due <= now { exec(entry.id)?.kill() }
        stopping.removeAll { $0.due <= now }
    }
}
