import CLinux
import CSpawn
import ContainerSpec
import Linux

/// Starts a process, step by step, without ever blocking: in new namespaces with a root of their own, or in those of a container
/// that is there.
///
/// The steps, those in brackets only where they are needed:
/// - new namespaces: [user from the image,] first child, [mappings,] root, [hooks,] [tether-init's cgroup,] [the wait for
///   ``release(_:_:)``,] and on to
/// - the process: [user from the container,] [hooks,] child, [terminal,] exec.
final class LaunchMachine {
    /// How long everything but hooks may take, in milliseconds. What the children do are local mounts and system calls; only a
    /// binary on a dead disk takes long.
    static let patience: Int64 = 30_000
    /// How long killed children may take to be gone, in milliseconds.
    static let endPatience: Int64 = 2000

    enum Progress {
        case waiting
        case started(SessionProcess, holder: Child?)
        case failed(LaunchError)
    }

    private enum Stage {
        case begin
        case resolving(UserResolution)
        /// The current child goes on by itself.
        case child
        case hooks(HookRun, since: Int64, next: Next)
        /// Namespaces and root are there, and the process is not to be started yet.
        case created
        case ending(LaunchError)
        case over(LaunchError)
        /// The process is the caller's.
        case started
    }

    /// What comes after hooks.
    private enum Next { case proceed, spawnProcess }

    private let spec: ContainerSpec
    private let process: ContainerProcess
    private let placement: Placement
    /// New namespaces; nil in those of `target`.
    private let root: RootPlan?
    private var target: JoinTarget?
    private var streams: StreamEnds
    private var stage = Stage.begin
    private(set) var deadline = Deadline.after(milliseconds: LaunchMachine.patience)
    /// The child whose reports count now.
    private var child: Child?
    private var holder: Child?
    private var user: ResolvedUser?
    private var processPlan: ProcessPlan?
    private var isExecuting = false
    /// Stops at ``Stage/created``.
    private var isHeld: Bool
    private var remains = LaunchRemains()
    private var ready: StepDescriptor

    /// - Parameters:
    ///   - root: nil for a process in the namespaces of `target`.
    ///   - isHeld: the process is started only after ``release(_:_:)``, where there is a tether-init that can be waited with.
    init(
        _ spec: ContainerSpec, _ process: ContainerProcess, _ placement: Placement, root: RootPlan?, target: JoinTarget?,
        isHeld: Bool = false
    ) throws(LaunchError) {
        self.spec = spec
        self.process = process
        self.placement = placement
        self.root = root
        self.target = target
        self.isHeld = isHeld
        do throws(SyscallError) {
            streams = try StreamEnds(placement.streams, isFirst: root != nil)
            ready = try StepDescriptor()
        } catch { throw LaunchError(error) }
        // What can be refused is refused before anything is made.
        _ = try ProcessPlan(
            process, user: ResolvedUser(uid: 0, gid: 0), personality: spec.personality, filter: placement.filter, isExec: root == nil)
    }

    /// The process that the launch made last: not yet the container's own as long as it is not started.
    var currentProcess: Child? { child }

    /// What others join before the process runs: tether-init, once the root is there. A process that is still to execute something is
    /// a copy of PID 1, which nobody shall come near.
    private(set) var joinable: JoinTarget?

    /// A launch that nobody follows any more is none.
    deinit { cancel("nobody waits for it") }

    /// Readable when ``step()`` has something to do; the same as long as the launch lives.
    var descriptor: Int32 { ready.rawValue }

    private var awaited: Int32 {
        switch stage {
        case .begin, .over, .started: -1
        case .resolving(let resolution): resolution.descriptor
        case .child: child?.descriptor ?? -1
        case .hooks(let run, _, _): run.descriptor
        // Not its socket, which tether-init has closed.
        case .created: target?.child.pidfd ?? -1
        case .ending: remains.descriptor
        }
    }

    /// When ``step()`` has something to do even if ``descriptor`` is not readable.
    var nextDeadline: Deadline {
        switch stage {
        case .begin, .over: Deadline(nanoseconds: 0)
        case .created, .started: Deadline(nanoseconds: .max)
        case .hooks(let run, _, _): run.deadline
        default: deadline
        }
    }

    func step() -> Progress {
        ready.unwatch()
        defer { ready.watch(awaited) }
        while true {
            switch stage {
            case .begin: begin()
            case .resolving(let resolution):
                switch resolution.step() {
                case .waiting:
                    if !deadline.hasPassed { return .waiting }
                    fail(LaunchError("read users", "of the image", "no answer within \(LaunchMachine.patience / 1000) s"))
                case .resolved(let user):
                    self.user = user
                    continueWithUser()
                case .failed(let error): fail(error)
                }
            case .child:
                if let session = advanceChild() {
                    stage = .started
                    return .started(session, holder: holder)
                }
                if case .child = stage { return .waiting }
            case .hooks(let run, let since, let next):
                guard case .finished(let failures) = run.step() else { return .waiting }
                // A hook has its own time.
                deadline = Deadline(nanoseconds: deadline.nanoseconds &+ (Clock.monotonic() &- since))
                if let failure = failures.first { fail(failure) } else { go(next) }
            case .created:
                guard let target, target.child.isGone() else { return .waiting }
                fail(LaunchError("start", name, "it ended before the process was started"))
            case .ending(let error):
                if !remains.areGone() && !deadline.hasPassed { return .waiting }
                stage = .over(error)
            case .started: return .waiting
            case .over(let error): return .failed(error)
            }
        }
    }

    // MARK: Steps

    /// A process that is to be the first of new namespaces has to know its user before there is a container to look into.
    private func begin() {
        stage = .child
        if let root, usesHolder(root) {
            spawnRoot(root)
        } else {
            resolveUser()
        }
    }

    private func usesHolder(_ root: RootPlan) -> Bool { ContainerLaunch.canBeHeld(root.spec) }

    private func resolveUser() {
        user = UserResolution.immediate(process)
        if user != nil {
            continueWithUser()
            return
        }
        do throws(LaunchError) {
            stage = .resolving(try UserResolution(process.user, root: target?.root ?? root?.path ?? "/"))
        } catch { fail(error) }
    }

    private func continueWithUser() {
        stage = .child
        do throws(LaunchError) {
            processPlan = try plan()
            if let root, target == nil {
                spawnRoot(root)
            } else {
                startHooks(.spawnProcess)
            }
        } catch { fail(error) }
    }

    private func plan(_ hook: ContainerHook? = nil) throws(LaunchError) -> ProcessPlan {
        try ProcessPlan(
            process, user: user ?? ResolvedUser(uid: 0, gid: 0), personality: spec.personality, filter: placement.filter,
            isExec: root == nil, hook: hook)
    }

    /// Makes the child that makes the namespaces: tether-init, or the process itself.
    private func spawnRoot(_ root: RootPlan) {
        var plan = cspawn_plan.empty
        plan.namespaces = root.cloned
        plan.cgroup = placement.cgroup
        plan.root = root.pointer
        let holds = usesHolder(root)
        plan.hold = holds ? 1 : 0
        // tether-init keeps what protects PID 1: with it the whole namespace would go. In a user namespace of its own a child may
        // not change it any more.
        plan.set_oom_score = holds || spec.namespaces.user ? 0 : 1
        plan.oom_score = oomScore
        var descriptors = root.descriptors
        let noCapabilities = holds ? Capabilities.make(CapabilitySets()) : nil
        defer { if let noCapabilities { cap_free(UnsafeMutableRawPointer(noCapabilities)) } }
        if holds {
            guard let noCapabilities else { return fail(LaunchError("allocate", "capabilities", "out of memory")) }
            plan.no_capabilities = noCapabilities
        } else {
            plan.process = processPlan?.pointer
            plan.pause_before_exec = spec.hooks.startContainer.isEmpty ? 0 : 1
            streams.fill(&plan)
            descriptors += streams.descriptors
        }
        do throws(LaunchError) {
            let child = try Child.spawn("container", plan, keeping: descriptors)
            self.child = child
            if holds { holder = child }
            target = JoinTarget(child, namespaces: root.joined, cgroup: placement.cgroup)
            if !holds { streams.closeChildEnds() }
            if spec.namespaces.user && !holds { try child.setOOMScore(oomScore) }
        } catch { fail(error) }
    }

    private var oomScore: Int32 { process.oomScoreAdjustment ?? 0 }

    private func spawnProcess() {
        stage = .child
        guard let target else { return fail(LaunchError("join namespaces", "container", "there is none")) }
        var plan = cspawn_plan.empty
        JoinTarget(target.child, namespaces: target.namespaces, cgroup: placement.cgroup).fill(&plan)
        plan.process = processPlan?.pointer
        plan.set_oom_score = 1
        plan.oom_score = oomScore
        streams.fill(&plan)
        do throws(LaunchError) {
            child = try Child.spawn(process.args.first ?? "", plan, keeping: streams.descriptors + [target.child.pidfd])
            streams.closeChildEnds()
        } catch { fail(error) }
    }

    private func go(_ next: Next) {
        stage = .child
        switch next {
        case .proceed: child?.proceed()
        case .spawnProcess: spawnProcess()
        }
    }

    // MARK: Hooks

    /// Runs the hooks that stand before `next`, if there are any.
    private func startHooks(_ next: Next, beforeRoot: Bool = false) {
        var items: [HookRun.Item] = []
        if root != nil, let target {
            let state = ContainerState(spec, root: root?.path ?? "/", pid: target.child.pid)
            do throws(LaunchError) {
                if beforeRoot {
                    items += HookRun.items("prestart", spec.hooks.prestart, .runtime, state.json("creating"))
                    items += HookRun.items("createRuntime", spec.hooks.createRuntime, .runtime, state.json("creating"))
                    items += HookRun.items("createContainer", spec.hooks.createContainer, .namespaces(target), state.json("creating"))
                } else {
                    for hook in spec.hooks.startContainer {
                        items += HookRun.items("startContainer", [hook], .container(target, try plan(hook)), state.json("created"))
                    }
                }
            } catch { return fail(error) }
        }
        if items.isEmpty { return go(next) }
        stage = .hooks(HookRun(items, stopsAtFailure: true), since: Clock.monotonic(), next: next)
    }

    // MARK: Reports

    /// Takes what the child says.
    /// - Returns: the process once it runs.
    private func advanceChild() -> SessionProcess? {
        guard let child else { return nil }
        switch child.receive() {
        case .none:
            if !deadline.hasPassed { return nil }
            fail(LaunchError("start", name, "not ready within \(LaunchMachine.patience / 1000) s"))
        case .report(let report, let descriptor): take(report, descriptor, child)
        case .unreadable(let errno): fail(LaunchError("read report", name, errno.description))
        case .closed:
            // Only execve(2) closes the report without a word after this one.
            if !isExecuting {
                fail(LaunchError("start", name, "it ended before it was ready"))
            } else if streams.lacksTerminal {
                fail(LaunchError("make terminal", name, "its master did not arrive"))
            } else {
                child.closeSocket()
                return streams.session(child)
            }
        }
        // There may be more: the caller looks again.
        if case .child = stage { return advanceChild() }
        return nil
    }

    private func take(_ report: cspawn_report, _ descriptor: Int32, _ child: Child) {
        let step = cspawn_step(rawValue: UInt32(truncatingIfNeeded: report.step))
        if descriptor >= 0 && step != CSPAWN_TERMINAL_MADE { _ = close(descriptor) }
        switch step {
        case CSPAWN_NAMESPACES:
            do throws(LaunchError) {
                try UserNamespace.write(spec.uidMappings, spec.gidMappings, pid: child.pid, for: "container")
                child.proceed()
            } catch { fail(error) }
        case CSPAWN_ROOT_MOUNTED: startHooks(.proceed, beforeRoot: true)
        case CSPAWN_READY: rootIsReady()
        case CSPAWN_TERMINAL_MADE:
            do throws(SyscallError) { if descriptor >= 0 { try streams.takeMaster(descriptor) } } catch { fail(LaunchError(error)) }
        case CSPAWN_EXECUTING: isExecuting = true
        default: fail(LaunchError(report, root: root, process: processPlan, object: name))
        }
    }

    private func rootIsReady() {
        guard let holder else { return startHooks(.proceed) }
        if placement.holderCgroup >= 0 {
            do throws(SyscallError) { try holder.move(to: placement.holderCgroup) } catch { return fail(LaunchError(error)) }
        }
        joinable = target
        if isHeld { stage = .created } else { resolveUser() }
    }

    /// Has the process started that was held back, or not held back at all.
    /// - Parameter size: its terminal's, if it is another than it was to have.
    func release(_ size: ConsoleSize?, _ modes: TerminalSettings) {
        isHeld = false
        streams.setTerminal(size, modes)
        guard case .created = stage else { return }
        ready.unwatch()
        defer { ready.watch(awaited) }
        // The wait was the client's.
        deadline = Deadline.after(milliseconds: LaunchMachine.patience)
        resolveUser()
    }

    /// What is being started, for errors.
    private var name: String {
        if let holder, child === holder { return "the namespaces' init" }
        return process.args.first ?? ""
    }

    // MARK: The end

    func cancel(_ cause: String) {
        ready.unwatch()
        defer { ready.watch(awaited) }
        switch stage {
        case .ending, .over, .started: return
        default: fail(LaunchError("start", process.args.first ?? "", cause))
        }
    }

    /// Ends everything begun.
    private func fail(_ error: LaunchError) {
        if case .ending = stage { return }
        joinable = nil
        if case .hooks(let run, _, _) = stage {
            run.abandon()
            for child in run.killed { remains.add(child) }
        }
        if case .resolving(let resolution) = stage { remains.add(resolution) }
        for child in [child, holder] { if let child { remains.add(child) } }
        streams.closeChildEnds()
        deadline = Deadline.after(milliseconds: LaunchMachine.endPatience)
        stage = .ending(error)
    }
}
