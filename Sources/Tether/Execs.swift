import CLinux
import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// The processes that are started beside the container process, in its namespaces.
final class Execs {
    /// Exec sessions that have ended and are kept so that a client can still ask how.
    private static let keptEnded = 64
    /// The most output of theirs that is kept, in bytes, whatever the rings' size.
    private static let keptBytes = 8 << 20

    /// Processes that an ended session has left which are moved in one turn.
    private static let movedAtOnce = 256

    private let runtime: Runtime
    private(set) var all: [Exec] = []
    private var made: UInt64 = 0
    /// Groups of sessions that have ended, in which something was still dying.
    private var leftGroups: [Cgroup] = []

    init(_ runtime: Runtime) { self.runtime = runtime }

    /// Those whose process runs, or is being started.
    var launched: Int { all.count { $0.session.state != .ended && !$0.isHeld } }
    /// These, and those that wait to be started.
    var running: Int { all.reduce(0) { $0 + ($1.session.state == .ended ? 0 : 1) } }

    /// Starts a process for a client.
    func start(_ request: ExecRequest) -> Outcome<Session> {
        func refuse(_ code: RequestFailure.Code, _ object: String, _ cause: String) -> Outcome<Session> {
            .failure(RequestFailure(code, exitCode: 125, operation: "exec", object: object, cause: cause))
        }
        var warnings: [SpecIssue] = []
        let process: ContainerProcess
        do throws(SpecError) {
            process = try ContainerProcess.decode(request.process, in: runtime.lifecycle.execSpec, warnings: &warnings)
        } catch {
            return refuse(.invalid, "process", error.description)
        }
        for warning in warnings { runtime.diagnostics.warning("exec: \(warning.description)") }
        if !request.session.isEmpty && runtime.control.session(request.session) != nil {
            return refuse(.invalid, request.session, "there is a session of this name")
        }
        // A health check, of which there is one at a time, is over and above the configured number.
        let clients = all.count { $0.purpose == .client && $0.session.state != .ended }
        if clients >= Int(runtime.spec.tether.sessions.maxSessions) - 1 {
            return refuse(.tooMany, process.args.first ?? "", "\(clients + 1) sessions run, which is the most")
        }
        // Its start and end are events in the log, which would be lost. Output alone never lets it come to that.
        if runtime.log.losesEvents { return refuse(.busy, "session log", "the port is behind") }
        return start(
            process, name: request.session, wantsStdin: request.wantsStdin, endsInputWithClient: request.endsInputWithClient,
            purpose: .client)
    }

    /// Starts a process, or has it started as soon as there is a container.
    ///
    /// - Parameter endsInputWithClient: its input ends when the first client goes that could write to it.
    func start(
        _ process: ContainerProcess, name: String, wantsStdin: Bool, endsInputWithClient: Bool, purpose: Exec.Purpose
    ) -> Outcome<Session> {
        made &+= 1
        let exec = make(process, name: name, wantsStdin: wantsStdin, purpose: purpose, endsInputWithClient)
        // A client that comes while the container is being started need not know that.
        if runtime.lifecycle.isBeingMade {
            all.append(exec)
            exec.release()
        } else {
            if let failure = exec.begin() { return .failure(failure) }
            all.append(exec)
            exec.stepLaunch()
        }
        runtime.control.sessionsChanged()
        return .success(exec.session)
    }

    /// Makes a session whose process is started when a client says so (``Exec/release(_:)``), and whose input ends only then, too.
    func hold(_ process: ContainerProcess, name: String, wantsStdin: Bool) {
        made &+= 1
        all.append(make(process, name: name, wantsStdin: wantsStdin, purpose: .client, false))
        runtime.control.sessionsChanged()
    }

    private func make(
        _ process: ContainerProcess, name: String, wantsStdin: Bool, purpose: Exec.Purpose, _ endsInputWithClient: Bool
    ) -> Exec {
        let session = runtime.makeSession(
            id: name.isEmpty ? "exec-\(made)" : name, kind: .exec, args: process.args, mayTakeInput: wantsStdin || process.terminal,
            wantsTerminal: process.terminal, endsInputWithClient: endsInputWithClient, log: nil)
        return Exec(runtime, session: session, process: process, wantsStdin: wantsStdin, groupName: "exec-\(made)", purpose: purpose)
    }

    /// The beginning of a process: it has a group, and is being launched.
    fileprivate func launch(
        _ process: ContainerProcess, wantsStdin: Bool, groupName: String
    ) -> Outcome<(Cgroup, ProcessLaunch)> {
        func refuse(_ code: RequestFailure.Code, _ cause: String, _ exitCode: UInt8 = 125) -> Outcome<(Cgroup, ProcessLaunch)> {
            .failure(RequestFailure(code, exitCode: exitCode, operation: "exec", object: process.args.first ?? "", cause: cause))
        }
        if !runtime.lifecycle.takesProcesses { return refuse(.notRunning, "the container does not run") }
        if runtime.isPaused { return refuse(.busy, "the container is paused") }
        let group: Cgroup
        do throws(CgroupError) { group = try runtime.groups.makeSession(groupName) } catch {
            return refuse(.failed, error.description)
        }
        let placement = Placement(
            cgroup: group.descriptor,
            streams: process.terminal ? .terminal(process.consoleSize, process.terminalModes) : .pipes(stdin: wantsStdin),
            filter: runtime.lifecycle.filter)
        do throws(LaunchError) {
            guard let launch = try runtime.lifecycle.execute(process, placement) else {
                remove(group)
                return refuse(.notRunning, "the container does not run")
            }
            return .success((group, launch))
        } catch {
            remove(group)
            return refuse(.launchFailed, error.description, error.exitCode)
        }
    }

    func exec(of session: Session) -> Exec? { all.first { $0.session === session } }

    /// A child was reaped.
    /// - Returns: whether it was one of these.
    func reaped(_ child: Children.Ended) -> Bool {
        for exec in all where exec.processID == child.pid {
            exec.processEnded(child.end, child.usage)
            return true
        }
        return false
    }

    /// There is no container that those could run in which only wait for one.
    func refuseReleased() { for exec in all { exec.refuseIfReleased() } }

    /// Goes on with launches that are under way: an unknown child ended, and may be one of theirs.
    func stepLaunches() { for exec in all { exec.stepLaunch() } }

    /// The container ended: nothing more can be started, and what runs is being killed with it.
    func containerEnded() { for exec in all { exec.cancel("the container ended") } }

    /// An exec is over.
    func ended(_ exec: Exec) {
        if let group = exec.group { leaveGroup(group) }
        if exec.purpose == .health {
            all.removeAll { $0 === exec }
        } else {
            while isKeepingTooMuch,
                let oldest = all.firstIndex(where: { $0.session.state == .ended && $0.session.attachments.isEmpty })
            {
                all.remove(at: oldest)
            }
        }
        runtime.control.sessionsChanged()
    }

    private var isKeepingTooMuch: Bool {
        var (count, bytes) = (0, 0)
        for exec in all where exec.session.state == .ended {
            count += 1
            bytes &+= exec.session.keptBytes
        }
        return count > Execs.keptEnded || count > 1 && bytes > Execs.keptBytes
    }

    /// Drops what is known of an ended one.
    func forget(_ session: Session) { all.removeAll { $0.session === session } }

    /// What the process left behind lives on in the container, as it does with Docker; its group goes.
    private func leaveGroup(_ group: Cgroup) {
        if let main = runtime.lifecycle.group, let left = try? group.processes() {
            for pid in left.prefix(Execs.movedAtOnce) { try? main.add(pid) }
        }
        remove(group)
    }

    private func remove(_ group: Cgroup) {
        if (try? runtime.groups.remove(group)) != true { leftGroups.append(group) }
    }

    var nextDeadline: Int64? {
        var next: Int64? = leftGroups.isEmpty ? nil : Clock.monotonic() &+ 100_000_000
        for exec in all { next = next.earlier(exec.nextDeadline) }
        return next
    }

    func checkDeadlines(_ now: Int64) {
        for exec in all {
            exec.checkDeadlines(now)
            exec.startIfReleased()
        }
        if !leftGroups.isEmpty {
            let groups = leftGroups
            leftGroups = []
            for group in groups { leaveGroup(group) }
        }
    }
}

/// One process beside the container process.
final class Exec: EventHandler, SessionOwner {
    enum Purpose { case client, health }

    let session: Session
    let purpose: Purpose
    /// The process's group, once there is to be one.
    private(set) var group: Cgroup?
    private let runtime: Runtime
    private var process: ContainerProcess
    private let wantsStdin: Bool
    private let groupName: String
    private var launch: ProcessLaunch?
    private var running: SessionProcess?
    private var stepper = Stepper()

    init(
        _ runtime: Runtime, session: Session, process: ContainerProcess, wantsStdin: Bool, groupName: String, purpose: Purpose
    ) {
        self.runtime = runtime
        self.session = session
        self.process = process
        self.wantsStdin = wantsStdin
        self.groupName = groupName
        self.purpose = purpose
        session.owner = self
    }

    /// Waits for a client to release it.
    var isHeld: Bool { group == nil && session.state == .waiting }

    /// A client has released it.
    private var isReleased = false

    var processID: Int32? { running?.processID }

    /// Begins the launch; ``stepLaunch()`` goes on with it.
    /// - Returns: why there is none.
    func begin() -> RequestFailure? {
        switch runtime.execs.launch(process, wantsStdin: wantsStdin, groupName: groupName) {
        case .failure(let failure): return failure
        case .success(let (group, launch)):
            self.group = group
            self.launch = launch
            return nil
        }
    }

    /// A client wants the process to be started, if it waits for that. Where that cannot be now, since the container is being made or is
    /// paused, it is started as soon as it can be.
    /// - Parameter modes: for its terminal, of the client that is the first to ask; nil leaves those that it was asked for with.
    func release(_ modes: TerminalSettings? = nil) {
        guard isHeld else { return }
        if !isReleased, let modes { process.terminalModes = modes }
        isReleased = true
        startIfReleased()
    }

    private var canStart: Bool { isReleased && isHeld && runtime.lifecycle.takesProcesses && !runtime.isPaused }

    func startIfReleased() {
        guard canStart else { return }
        if let failure = begin() {
            // To those that are attached it is the end of the session, whatever the reason.
            return fail(
                RequestFailure(
                    .launchFailed, exitCode: failure.exitCode, operation: failure.operation, object: failure.object, cause: failure.cause))
        }
        stepLaunch()
    }

    func refuseIfReleased() {
        guard isReleased, isHeld else { return }
        fail(
            RequestFailure(
                .launchFailed, exitCode: 125, operation: "exec", object: process.args.first ?? "", cause: "the container does not run"))
    }

    /// The size of the terminal that it will have.
    func setConsoleSize(rows: UInt16, columns: UInt16) { process.consoleSize = ConsoleSize(rows: rows, columns: columns) }

    private func fail(_ failure: RequestFailure) {
        session.fail(failure)
        runtime.vic?.failed(session)
        over()
    }

    func ready(role: Int32, _ event: Epoll.Event) { stepLaunch() }

    func stepLaunch() {
        guard let launch else { return }
        stepper.pause(runtime.loop)
        switch launch.step() {
        case .waiting: stepper.resume(runtime.loop, launch.descriptor, self, role: 0)
        case .failed(let error):
            self.launch = nil
            fail(
                RequestFailure(
                    .launchFailed, exitCode: error.exitCode, operation: error.operation, object: error.object, cause: error.cause))
        case .started(let process):
            self.launch = nil
            running = process
            session.begin(process)
            // As with the container's own: it may have been said meanwhile.
            if let size = self.process.consoleSize, self.process.terminal { try? process.resize(rows: size.rows, columns: size.columns) }
            if purpose == .client {
                runtime.vic?.started(session)
                runtime.log.event(
                    .execStart(
                        id: runtime.spec.tether.id, session: session.id, pid: process.processID,
                        args: Runtime.bounded(self.process.args), startedAt: Timestamp(nanoseconds: session.startedAt)))
            }
        }
    }

    func cancel(_ cause: String) {
        if isHeld {
            return fail(RequestFailure(.launchFailed, exitCode: 125, operation: "start", object: session.id, cause: cause))
        }
        launch?.cancel(cause)
        stepLaunch()
        running?.signal(.kill)
    }

    /// Ends the process and all it started.
    func kill() {
        launch?.cancel("it was not started in time")
        stepLaunch()
        try? group?.kill()
    }

    func signal(_ signal: Signal) { running?.signal(signal) }

    func resize(rows: UInt16, columns: UInt16) throws(SyscallError) { try running?.resize(rows: rows, columns: columns) }

    func processEnded(_ end: ProcessEnd, _ usage: ResourceUsage) {
        let killed = (try? group?.memoryEvents())??.oomKill ?? 0
        session.processEnded(end, usage, oomKilled: killed > 0)
    }

    func sessionEnded(_ session: Session) {
        running = nil
        if purpose == .client, let result = session.result {
            runtime.log.event(.execDie(id: runtime.spec.tether.id, ExitRecord(result)))
        }
        runtime.vic?.ended(session)
        session.finish()
        over()
    }

    private func over() {
        if purpose == .health { runtime.health.checkEnded(session) }
        runtime.execs.ended(self)
    }

    // What lets it start may have come behind its turn.
    var nextDeadline: Int64? { canStart ? 0 : launch?.deadline.nanoseconds }

    func checkDeadlines(_ now: Int64) { if let launch, launch.deadline.hasPassed { stepLaunch() } }
}

// Container and Sessions do not know each other; what one starts is what the other reads.
extension SessionProcess: StreamedProcess {}
