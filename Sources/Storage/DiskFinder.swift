import CLinux
import KernelModules
import Linux

/// Waits for the one disk that is meant.
///
/// A disk is taken only once no other one can still turn up that matches as well. The drivers are loaded with the SCSI scan
/// inside the load (see ``ModuleLoader``), so when the load has returned, all disks that were there at power-on are in
/// /sys, and a match is final at once. Where the scan may still run in the background (a SCSI layer that is built in and scans
/// asynchronously, a SAS, Fibre Channel or iSCSI transport), the match must stand for ``quietMilliseconds`` without a uevent.
struct DiskFinder: ~Copyable {
    let request: RootfsRequest
    let modules: ModuleLoader
    let interrupt: Interrupt?
    private var devices: [BlockDevice] = []
    private var lastEvent = Clock.monotonic()

    static let quietMilliseconds: Int64 = 100
    /// Probes that run at once.
    private static let parallelProbes = 16

    init(request: RootfsRequest, modules: ModuleLoader, interrupt: Interrupt?) {
        self.request = request
        self.modules = modules
        self.interrupt = interrupt
    }

    mutating func find(uevents: borrowing UeventSocket, report: (StorageNote) -> Void) throws(StorageError) -> BlockDevice {
        let deadline = Deadline.after(milliseconds: request.deviceTimeout)
        // Half of the time: a driver that hangs must not keep us from a disk that another one serves.
        let driverDeadline = Deadline.after(milliseconds: request.deviceTimeout / 2)
        try note(modules.loadForPresentHardware(.boot, until: driverDeadline, interrupt: interrupt), report)
        lastEvent = Clock.monotonic()
        while true {
            // Events first, disks second: what the events tell of is then in the list, and is not probed twice.
            _ = try takeEvents(uevents, until: deadline, report)
            try look(report)
            // The probes took their time: had the set of disks changed meanwhile, the match below would be of the past.
            let isStale = try takeEvents(uevents, until: deadline, report)
            if isStale && !deadline.hasPassed { continue }
            switch DiskMatch(request.device, in: devices, pathNumber: pathNumber()) {
            case .several(let matches):
                throw failure(.ambiguous, "\(matches.count) disks match: " + DiskMatch.list(matches))
            case .one(let device):
                let final = quietEnd()
                if final.hasPassed || deadline.hasPassed { return device }
                try wait(uevents, until: final)
            case .none:
                if deadline.hasPassed {
                    throw failure(.notFound, DiskMatch.absence(of: request.device, in: devices, afterMilliseconds: request.deviceTimeout))
                }
                try wait(uevents, until: deadline)
            }
        }
    }

    /// Reads all waiting events, and loads the modules that new devices ask for.
    ///
    /// - Returns: whether the list of disks may be out of date.
    private mutating func takeEvents(
        _ uevents: borrowing UeventSocket, until deadline: Deadline, _ report: (StorageNote) -> Void
    ) throws(StorageError) -> Bool {
        var isStale = false
        // Bounded: a device that changes without end must not keep us from the deadline.
        for _ in 0..<4096 {
            let reading: UeventSocket.Reading
            do throws(SyscallError) { reading = try uevents.next() } catch { throw failure(.system, error.description) }
            switch reading {
            case .none: return isStale
            case .overrun:
                isStale = true
                lastEvent = Clock.monotonic()
                for index in devices.indices { devices[index].content = .notProbed }
                try note(modules.loadForPresentHardware(.boot, until: deadline, interrupt: interrupt), report)
            case .event(let event):
                lastEvent = Clock.monotonic()
                if let modalias = event.modalias, event.action == "add", ModuleSelection.boot.includes(modalias) {
                    let loaded = modules.load(alias: modalias, until: deadline, interrupt: interrupt)
                    if !loaded.loaded.isEmpty { isStale = true }
                    try note(loaded, report)
                }
                guard event.subsystem == "block" else { continue }
                isStale = true
                for index in devices.indices where devices[index].name == event.deviceName {
                    // New content in an old device: another medium, or a filesystem that was just made. And a device that was
                    // seen before its node existed is announced only now.
                    if event.action == "change" || devices[index].content.isUnreadable { devices[index].content = .notProbed }
                }
            }
        }
        return isStale
    }

    /// Brings ``devices`` up to date, and probes what is new.
    private mutating func look(_ report: (StorageNote) -> Void) throws(StorageError) {
        var current: [BlockDevice]
        do throws(SyscallError) { current = try BlockDevice.present() } catch { throw failure(.system, error.description) }
        for index in current.indices {
            if let known = devices.first(where: { $0.isSameDevice(as: current[index]) }) { current[index].content = known.content }
        }
        let unknown = current.indices.filter { current[$0].content == .notProbed }
        var start = 0
        while start < unknown.count {
            let batch = Array(unknown[start..<min(start + DiskFinder.parallelProbes, unknown.count)])
            try probe(batch, of: &current, report)
            start += batch.count
        }
        devices = current
    }

    /// Probes some devices, each in a worker of its own: one dead disk must not hide the others.
    private func probe(_ batch: [Int], of current: inout [BlockDevice], _ report: (StorageNote) -> Void) throws(StorageError) {
        var running: [ProbeInProgress] = []
        for index in batch {
            let device = current[index]
            do throws(SyscallError) {
                let worker = try Worker.start("probe " + device.path) { output in
                    output.send(DiskProbe.content(of: device.path, number: (device.major, device.minor)).encoded)
                }
                running.append(ProbeInProgress(index: index, worker: worker))
            } catch {
                throw failure(.system, error.description)
            }
        }
        let deadline = Deadline.after(milliseconds: request.probeTimeout)
        var wasInterrupted = false
        for probe in running {
            let end = wasInterrupted ? Deadline(nanoseconds: 0) : deadline
            guard let result = probe.wait(until: end, interrupt: interrupt) else { continue }
            let content: DiskContent
            switch result.ending {
            case .finished:
                content = result.messages.first.flatMap { DiskContent(encoded: $0) } ?? .unreadable("the probe gave no result")
            case .died(let signal): content = .unreadable("the probe died of signal \(signal)")
            case .timedOut: content = .unreadable("did not answer within \(request.probeTimeout) ms")
            case .interrupted:
                content = .notProbed
                wasInterrupted = true
            }
            current[probe.index].content = content
            report(StorageNote(.info, "found " + current[probe.index].summary))
        }
        if wasInterrupted { throw failure(.interrupted, "interrupted while probing") }
    }

    /// When a match is final, if nothing happens until then.
    private func quietEnd() -> Deadline {
        if case .path = request.device { return Deadline(nanoseconds: 0) }
        guard DiskFinder.mayStillScan() else { return Deadline(nanoseconds: 0) }
        return Deadline(nanoseconds: lastEvent + DiskFinder.quietMilliseconds * 1_000_000)
    }

    private static func mayStillScan() -> Bool {
        // "sync" scans within the load of the driver; without SCSI nothing scans at all.
        if let scan = try? Files.readText("/sys/module/scsi_mod/parameters/scan", limit: 64), scan == "async" { return true }
        for transport in ["sas_host", "fc_host", "iscsi_host"] {
            if let hosts = try? Files.list("/sys/class/" + transport), !hosts.isEmpty { return true }
        }
        return false
    }

    private func pathNumber() -> (major: UInt32, minor: UInt32)? {
        guard case .path(let path) = request.device else { return nil }
        var status = stat()
        guard stat(path, &status) == 0, clinux_is_block_device(status.st_mode) != 0 else { return nil }
        return (gnu_dev_major(status.st_rdev), gnu_dev_minor(status.st_rdev))
    }

    private func wait(_ uevents: borrowing UeventSocket, until deadline: Deadline) throws(StorageError) {
        var watched = (
            pollfd(fd: uevents.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
        )
        _ = withUnsafeMutableBytes(of: &watched) {
            poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, deadline.pollTimeout)
        }
        if watched.1.revents != 0, let interrupt, interrupt.isRequested() { throw failure(.interrupted, "interrupted while waiting") }
    }

    private func note(_ report: ModuleReport, _ tell: (StorageNote) -> Void) throws(StorageError) {
        if !report.loaded.isEmpty { tell(StorageNote(.info, "loaded modules " + report.loaded.joined(separator: ", "))) }
        for error in report.failures { tell(StorageNote(.warning, error.description)) }
        if report.wasInterrupted { throw failure(.interrupted, "interrupted while loading modules") }
    }

    private func failure(_ kind: StorageError.Kind, _ cause: String) -> StorageError {
        StorageError(kind, "find disk", request.device.description, cause)
    }
}

/// A probe and the device it belongs to: a class, because an array cannot hold what cannot be copied.
private final class ProbeInProgress {
    let index: Int
    private var worker: Worker?

    init(index: Int, worker: consuming Worker) {
        self.index = index
        self.worker = consume worker
    }

    /// - Returns: the result, once.
    func wait(until deadline: Deadline, interrupt: Interrupt?) -> WorkerResult? {
        guard let worker = worker.take() else { return nil }
        return worker.wait(until: deadline, interrupt: interrupt)
    }
}
