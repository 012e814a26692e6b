import CCrash
import CLinux
import Cgroups
import ContainerSpec
import KernelModules
import Linux
import SessionLog
import Storage

/// The life of a container VM, phase by phase.
final class Boot {
    static let version = "0.1.0"
    static let diagnosticsPort = "/dev/ttyS1"
    static let sessionLogPort = "/dev/ttyS2"
    static let configurationKey = "guestinfo.tether.config"
    /// The largest configuration taken, decoded; the host's values end at 1 MiB, before decompression.
    static let configurationLimit = 2 << 20

    private let started: Int64
    private let diagnostics: Diagnostics
    private let status: StatusReporter
    /// nil until the backdoor has answered.
    private var host: Host?
    private var log: SessionLogWriter?
    private var spec: ContainerSpec?
    private var runtime: Runtime?
    /// nil where the configuration is not VIC's.
    private var vic: VICDialect?
    /// The configuration is tether's own, and not VIC's.
    private var isOwn = false
    private var kernelControl: ControlSettings?

    /// - Parameter started: PID 1's first instruction, on the monotonic clock.
    init(started: Int64) {
        self.started = started
        // Before anything that can fail: the failure needs a port to be told on, and the port needs /dev.
        var mountFailure: SyscallError?
        do throws(SyscallError) { try EarlyMounts.mountAll() } catch { mountFailure = error }
        diagnostics = Diagnostics(path: Boot.diagnosticsPort)
        status = StatusReporter(started: started, diagnostics: diagnostics)
        if let mountFailure { fail(Failure(mountFailure)) }
    }

    func run() -> Never {
        do throws(Failure) {
            let stops = try prepare()
            try connect()
            let spec = try readConfiguration()
            self.spec = spec
            let found = try findDisk(spec, stops)
            try mountRootfs(found, stops)
            try runContainer(spec, found.modules, stops)
        } catch {
            fail(error)
        }
        // runContainer ends the VM; the compiler cannot know.
        Shutdown.powerOff()
    }

    // MARK: Phases

    /// boot: protects PID 1 from crashes, signals and the out-of-memory killer.
    private func prepare() throws(Failure) -> StopRequests {
        if ccrash_install("/proc/self/exe", 0, diagnostics.descriptor) != 0 { diagnostics.warning("crash handler not installed") }
        // Ctrl-Alt-Del then comes as SIGINT, and so as a request to stop, instead of a reset.
        _ = clinux_ctrl_alt_del_signals_init()
        do throws(SyscallError) { try Files.write("-1000", to: "/proc/self/oom_score_adj") } catch {
            diagnostics.warning(error.description)
        }
        liftWatchLimit()
        detachStandardDescriptors()
        let kernel = KernelArguments((try? Files.read("/proc/cmdline")) ?? [])
        if kernel.debug { diagnostics.level = .debug }
        kernelControl = kernel.control
        for word in kernel.notUnderstood { diagnostics.warning("kernel argument not understood: \(word)") }
        diagnostics.info("tether \(Boot.version) on Linux \(String(cString: clinux_kernel_release()))")
        let stops = try mapped { () throws(SyscallError) in try StopRequests() }
        if let problem = stops.buttonProblem { diagnostics.warning("no power button: \(problem.description)") }
        return stops
    }

    /// boot: the way to the host and the session log; without either there is nobody to work for.
    private func connect() throws(Failure) {
        host = Host.open(diagnostics)
        status.host = host
        let interrupted = InterruptedRun.phase(host?.value(StatusReporter.key))
        if let interrupted {
            diagnostics.warning("the VM was started again while it was in phase \(interrupted.rawValue); the container starts anew")
        }
        status.publish()
        let log = try mapped { () throws(SyscallError) in try SessionLogWriter(path: Boot.sessionLogPort) }
        self.log = log
        log.event(.boot(version: Boot.version, kernel: String(cString: clinux_kernel_release()), interrupted: interrupted))
    }

    /// Begins with a phase. After a crash in it the report has to go where this configuration wants it.
    private func enter(_ phase: Phase) {
        status.enter(phase)
        saveRecoveryState()
    }

    private func saveRecoveryState() {
        let session = status.vic?.session ?? ""
        var state = RecoveryState(id: status.id ?? session, phase: status.phase, processID: 0)
        state.logFormat = log?.format ?? .cri
        state.vicSession = session
        state.save()
    }

    /// config: what to run.
    private func readConfiguration() throws(Failure) -> ContainerSpec {
        enter(.config)
        let spec = try decodeConfiguration()
        if spec.tether.debug { diagnostics.level = .debug }
        if let vic { diagnostics.debug("\(vic.fetched) of VIC's keys read") }
        status.id = spec.tether.id
        log?.decide(spec.tether.log.format)
        log?.partialDelay = spec.tether.log.partialFlushMilliseconds &* 1_000_000
        clinux_release_free_memory()
        return spec
    }

    private func decodeConfiguration() throws(Failure) -> ContainerSpec {
        var spec = try decodedConfiguration()
        guard spec.tether.control == nil, let kernelControl else { return spec }
        spec.tether.control = kernelControl
        // Who debugs a VM says so on the kernel command line, and takes the line from whom the configuration gives it to.
        if spec.tether.attach?.device == kernelControl.device {
            spec.tether.attach = nil
            diagnostics.warning("tether.control on the kernel command line takes \(kernelControl.device): there is no attach server")
        }
        return spec
    }

    private func decodedConfiguration() throws(Failure) -> ContainerSpec {
        guard let host else {
            throw Failure("read", Boot.configurationKey, "no VMware host answers on the backdoor port (see the diagnostics port)")
        }
        // Whose the configuration is does not change while the VM runs.
        if let vic { return try vic.read() }
        if !isOwn, let found = try VICDialect.find(host, diagnostics, status) {
            vic = found
            return try readVIC(found)
        }
        guard let bytes = try host.decoded(Boot.configurationKey, limit: Boot.configurationLimit) else {
            throw Failure("read", Boot.configurationKey, "the host has no configuration for this VM")
        }
        isOwn = true
        var warnings: [SpecIssue] = []
        let spec: ContainerSpec
        do throws(SpecError) { spec = try ContainerSpec.decode(bytes, warnings: &warnings) } catch {
            throw Failure("decode", Boot.configurationKey, error.description)
        }
        for warning in warnings { diagnostics.warning("configuration: \(warning.description)") }
        diagnostics.info("configuration of \(bytes.count) bytes: \(spec.tether.id)")
        return spec
    }

    private func readVIC(_ vic: VICDialect) throws(Failure) -> ContainerSpec {
        // VIC's keys no guest can write, and so nobody but the host: what any process in the VM could have set does not count beside them.
        if host?.value(Boot.configurationKey) != nil {
            diagnostics.warning("\(Boot.configurationKey) is not looked at: VIC's keys are there")
        }
        // Whatever else may go wrong: a reader of this log takes what is no output for some.
        log?.decide(.vic)
        saveRecoveryState()
        let spec = try vic.read()
        diagnostics.info("configuration of VIC: \(spec.tether.id)")
        return spec
    }

    /// devices: the storage drivers, and the one disk that is meant.
    private func findDisk(_ spec: ContainerSpec, _ stops: StopRequests) throws(Failure) -> FoundDisk {
        enter(.devices)
        let modules: ModuleLoader
        do throws(ModuleError) { modules = try ModuleLoader() } catch { throw Failure(error) }
        let settings = spec.tether.rootfs
        var request = RootfsRequest(device: settings.device, type: settings.type, options: settings.options, target: Shutdown.rootfs)
        request.deviceTimeout = settings.timeoutSeconds &* 1000
        let uevents = try mapped { () throws(SyscallError) in try UeventSocket() }
        do throws(StorageError) {
            let disk = try Storage.findDisk(request, modules: modules, uevents: uevents, interrupt: stops.interrupt, report: note)
            return FoundDisk(disk: disk, request: request, modules: modules)
        } catch {
            throw Failure(error)
        }
    }

    private struct FoundDisk {
        let disk: BlockDevice
        let request: RootfsRequest
        let modules: ModuleLoader
    }

    /// rootfs: mounts the image disk.
    private func mountRootfs(_ found: FoundDisk, _ stops: StopRequests) throws(Failure) {
        enter(.rootfs)
        do throws(StorageError) {
            _ = try Storage.mount(found.disk, found.request, modules: found.modules, interrupt: stops.interrupt, report: note)
        } catch {
            throw Failure(error)
        }
    }

    private func note(_ note: StorageNote) {
        switch note.severity {
        case .debug: diagnostics.debug(note.text)
        case .info: diagnostics.info(note.text)
        case .warning: diagnostics.warning(note.text)
        }
    }

    /// launching, running, stopping, exited.
    private func runContainer(_ spec: ContainerSpec, _ modules: ModuleLoader, _ stops: StopRequests) throws(Failure) -> Never {
        guard let log else { throw Failure("write", "session log", "the port is not open") }
        try vic?.prepare()
        let groups = try makeGroups(spec)
        let runtime = try mapped { () throws(SyscallError) in
            try Runtime(
                spec, groups: groups, modules: modules, stops: stops, log: log, diagnostics: diagnostics, status: status
            ) { () throws(Failure) in try self.decodeConfiguration() }
        }
        self.runtime = runtime
        if let vic, let reporter = status.vic { runtime.vic = VICSessions(runtime, vic, reporter) }
        switch try mapped({ () throws(SyscallError) in try runtime.run() }) {
        case .failed(let failure): throw failure
        case .ended(let record):
            Shutdown.finish(
                record, phase: .exited, log: log, status: status, diagnostics: diagnostics,
                logPatience: runtime.spec.tether.drain.deadlineSeconds &* 1000, beforeRelease: runtime.linger)
        }
    }

    /// The control groups, and in them what the configuration limits the container to.
    private func makeGroups(_ spec: ContainerSpec) throws(Failure) -> CgroupHierarchy {
        do throws(CgroupError) {
            try CgroupHierarchy.mount()
            let rings = spec.tether.sessions.ringsKiB
            let groups = try CgroupHierarchy(
                root: try Cgroup(root: CgroupHierarchy.mountPoint),
                ceilings: .read(reserveKiB: spec.tether.memoryReserveKiB, ringsKiB: rings))
            try groups.tether.addSelf()
            let notes = try Runtime.limit(groups, spec.resources)
            try DeviceProgram(spec.resources.devices).attach(to: groups.container)
            for note in groups.notes + notes { diagnostics.warning(note) }
            if !groups.ceilings.hasRoom(ringsKiB: rings) {
                diagnostics.warning(
                    "tether.sessions: recent output may take \(rings) KiB, for which the \(groups.ceilings.reserveBytes >> 10) KiB that the "
                        + "container cannot have are too few; lower ringKiB or maxSessions, or raise tether.memoryReserveKiB")
            }
            return groups
        } catch {
            throw Failure(error)
        }
    }

    // MARK: Failure

    /// Says in all three places what failed, and ends the VM.
    private func fail(_ failure: Failure) -> Never {
        diagnostics.error(failure.description)
        let record = ExitRecord(
            id: status.id ?? "", exitCode: failure.exitCode, startedAt: status.startedAt,
            finishedAt: Timestamp(nanoseconds: Clock.realtime()), stdout: log?.total(.stdout) ?? .empty,
            stderr: log?.total(.stderr) ?? .empty,
            // What a process writes that runs at this moment nobody reads.
            drain: runtime?.lifecycle.container == nil ? .eof : .deadline, error: failure.report(in: status.phase))
        Shutdown.finish(
            record, phase: .failed, log: log, status: status, diagnostics: diagnostics,
            logPatience: (spec?.tether.drain.deadlineSeconds ?? 30) &* 1000, beforeRelease: { runtime?.linger() })
    }

    private func mapped<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(Failure) -> Result {
        do throws(SyscallError) { return try body() } catch { throw Failure(error) }
    }

    /// The kernel counts what all processes of a user watch with epoll(7), and the container's root is the user that PID 1 is: it could
    /// use up what there is, and PID 1 could watch nothing any more. Each watch takes memory of the group of who makes it, and that
    /// has a limit.
    private func liftWatchLimit() {
        do throws(SyscallError) { try Files.write("\(Int64.max)", to: "/proc/sys/fs/epoll/max_user_watches") } catch {
            diagnostics.warning(error.description)
        }
    }

    /// What the kernel gave as descriptors 0 to 2 is the console, and a write to a console can block.
    private func detachStandardDescriptors() {
        do throws(SyscallError) {
            let null = try FileDescriptor.open("/dev/null", O_RDWR)
            for number in Int32(0)...2 { try attempt("dup2", "/dev/null") { dup2(null.rawValue, number) } }
        } catch {
            diagnostics.warning(error.description)
        }
    }
}
