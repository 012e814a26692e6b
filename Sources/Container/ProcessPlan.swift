import CCapability
import CLinux
import CSpawn
import ContainerSpec
import Linux

/// What is executed and as what, resolved and laid out in C memory.
final class ProcessPlan {
    let process: ContainerProcess
    let user: ResolvedUser
    /// What is executed, for messages.
    let command: String
    /// What to give to the child; valid as long as the plan.
    private(set) var pointer: UnsafePointer<cspawn_process>?
    private let memory = PlanMemory()
    private let capabilities: cap_t?

    /// The PATH that is searched where the container's environment has none; Docker's default.
    static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// A process of the container.
    ///
    /// - Parameters:
    ///   - user: whom `process.user` is in the image.
    ///   - isExec: it is not the first process, which execCPUAffinity does not concern.
    ///   - hook: run this instead, as the same user and with the same limits.
    /// - Throws: ``LaunchError`` for a security label that the kernel does not know, a bad filter, or when memory is short.
    init(
        _ process: ContainerProcess, user: ResolvedUser, personality: Personality?, filter: SyscallFilter?, isExec: Bool,
        hook: ContainerHook? = nil
    ) throws(LaunchError) {
        self.process = process
        self.user = user
        command = hook?.path ?? process.executable ?? process.args.first ?? ""
        capabilities = Capabilities.make(process.capabilities)
        guard let capabilities else { throw LaunchError("allocate", "capabilities", "out of memory") }
        var plan = cspawn_process()
        plan.capabilities = capabilities
        if let hook { fill(&plan, hook: hook) } else { fill(&plan, home: user.home) }
        plan.cwd = memory.string(process.cwd)
        plan.uid = user.uid
        plan.gid = user.gid
        plan.groups = memory.array(user.groups)
        plan.group_count = user.groups.count
        plan.umask = process.user.umask
        let limits = process.resourceLimits.map {
            cspawn_rlimit(resource: $0.resource, limit: rlimit(rlim_cur: rlim_t($0.soft), rlim_max: rlim_t($0.hard)))
        }
        plan.rlimits = memory.array(limits)
        plan.rlimit_count = limits.count
        fillExecution(&plan, personality, isExec: isExec)
        let labels = try ProcessPlan.labels(process).map { cspawn_label(path: memory.string($0.path), text: memory.string($0.text)) }
        plan.labels = memory.array(labels)
        plan.label_count = labels.count
        plan.no_new_privileges = process.noNewPrivileges ? 1 : 0
        try fill(&plan, filter)
        plan.bounding = process.capabilities.bounding
        plan.ambient = process.capabilities.ambient
        plan.last_capability = Capabilities.last
        pointer = memory.value(plan)
        try memory.check()
    }

    /// A hook of the runtime: it keeps PID 1's identity.
    init(_ hook: ContainerHook) throws(LaunchError) {
        process = ContainerProcess(args: hook.args)
        user = ResolvedUser(uid: 0, gid: 0)
        command = hook.path
        capabilities = nil
        var plan = cspawn_process()
        fill(&plan, hook: hook)
        plan.cwd = memory.string("/")
        plan.keep_identity = 1
        plan.io_priority = -1
        pointer = memory.value(plan)
        try memory.check()
    }

    deinit {
        if let capabilities { cap_free(UnsafeMutableRawPointer(capabilities)) }
    }

    private func fill(_ plan: inout cspawn_process, hook: ContainerHook) {
        plan.path = memory.string(hook.path)
        plan.argv = memory.strings(hook.args)
        plan.envp = memory.strings(hook.env)
    }

    /// HOME is the user's unless the environment says another, as Docker has it.
    private func fill(_ plan: inout cspawn_process, home: String) {
        var environment = process.env
        if !environment.contains(where: UserResolution.isHome) {
            environment.removeAll { $0 == "HOME=" }
            environment.append("HOME=" + home)
        }
        plan.argv = memory.strings(process.args)
        plan.command = memory.string(process.executable)
        plan.envp = memory.strings(environment)
        let path = environment.last { $0.utf8.starts(with: "PATH=".utf8) }
        plan.search_path = memory.string(path.map { String($0.dropFirst(5)) } ?? ProcessPlan.defaultPath)
    }

    private func fillExecution(_ plan: inout cspawn_process, _ personality: Personality?, isExec: Bool) {
        if let scheduler = process.scheduler {
            plan.scheduler = memory.value(
                cspawn_scheduler(
                    size: UInt32(MemoryLayout<cspawn_scheduler>.size), policy: scheduler.policy.rawValue, flags: scheduler.flags,
                    nice: scheduler.nice, priority: scheduler.priority, runtime: scheduler.runtime, deadline: scheduler.deadline,
                    period: scheduler.period))
        }
        // ioprio_set(2): the class above bit 13.
        plan.io_priority = process.ioPriority.map { Int32($0.ioClass.rawValue) << 13 | Int32($0.priority & 7) } ?? -1
        if let personality { plan.personality = memory.value(personality == .linux32 ? UInt(PER_LINUX32) : 0) }
        guard isExec, let affinity = process.execCPUAffinity else { return }
        let initial = affinity.initial?.words ?? []
        let final = affinity.final?.words ?? []
        let words = max(initial.count, final.count)
        plan.affinity_size = words * MemoryLayout<UInt64>.size
        if !initial.isEmpty { plan.initial_affinity = mask(initial, words) }
        if !final.isEmpty { plan.affinity = mask(final, words) }
    }

    private func mask(_ words: [UInt64], _ count: Int) -> UnsafePointer<UInt>? {
        memory.array(words.map { UInt($0) } + [UInt](repeating: 0, count: count - words.count))
    }

    private func fill(_ plan: inout cspawn_process, _ filter: SyscallFilter?) throws(LaunchError) {
        guard let filter else { return }
        let size = MemoryLayout<UInt64>.size  // of struct sock_filter
        let count = filter.instructions.count / size
        guard filter.instructions.count % size == 0, count >= 1, count <= Int(UInt16.max) else {
            throw LaunchError("install seccomp filter", "linux.seccomp", "\(filter.instructions.count) bytes are no program")
        }
        plan.filter = UnsafeRawPointer(memory.array(filter.instructions))
        plan.filter_count = count
        plan.filter_flags = filter.flags
    }

    /// The files that a process's label is written to before it executes anything.
    private static func labels(_ process: ContainerProcess) throws(LaunchError) -> [(path: String, text: String)] {
        var labels: [(path: String, text: String)] = []
        if let profile = process.apparmorProfile {
            guard ((try? Files.read("/sys/module/apparmor/parameters/enabled")) ?? []).first == UInt8(ascii: "Y") else {
                throw LaunchError("set security label", "process.apparmorProfile \(profile)", "the kernel has no AppArmor")
            }
            // Its own file where several security modules share the other (lsm(7) since Linux 5.8).
            let own = "/proc/self/attr/apparmor/exec"
            labels.append((Files.exists(own) ? own : "/proc/self/attr/exec", "exec " + profile))
        }
        if let label = process.selinuxLabel {
            guard Files.exists("/sys/fs/selinux/enforce") else {
                throw LaunchError("set security label", "process.selinuxLabel \(label)", "the kernel has no SELinux")
            }
            labels.append(("/proc/self/attr/exec", label))
        }
        return labels
    }
}
