import CLinux
import KernelModules
import Linux

/// What to mount as the container's root.
public struct RootfsRequest: Sendable {
    public var device: DiskSpecifier
    /// The filesystem type; nil for what libblkid finds.
    public var type: String?
    /// Mount options as in fstab(5), one to an element. `nodev` goes before them, so device nodes work only with `dev`.
    public var options: [String]
    public var readOnly: Bool
    /// Where to mount; it is made if need be.
    public var target: String
    /// How long to wait for the disk, in milliseconds.
    public var deviceTimeout: Int64 = 30_000
    /// How long one disk may take to answer a probe, in milliseconds.
    public var probeTimeout: Int64 = 5_000
    /// How long mount(2) may take (a journal may have to be replayed), in milliseconds.
    public var mountTimeout: Int64 = 60_000

    public init(device: DiskSpecifier, type: String? = nil, options: [String] = [], readOnly: Bool = false, target: String) {
        self.device = device
        self.type = type
        self.options = options
        self.readOnly = readOnly
        self.target = target
    }
}

/// What was mounted.
public struct MountedRootfs: Equatable, Sendable {
    /// "/dev/sda".
    public let device: String
    public let type: String
    public let label: String?
    public let uuid: String?
    public let target: String
    /// True also where it was asked for writing, and the device allows reading only.
    public let readOnly: Bool
}

/// Finds disks (libblkid), mounts them (libmount) and unmounts them.
///
/// Nothing here blocks longer than its deadlines: what touches a device runs in a ``Worker``.
public enum Storage {
    /// Loads the drivers, waits for the disk, and mounts it.
    ///
    /// - Parameters:
    ///   - uevents: opened before this call; what it receives meanwhile is consumed here.
    ///   - interrupt: ends every wait.
    ///   - report: called for each step.
    public static func mountRootfs(
        _ request: RootfsRequest, modules: ModuleLoader, uevents: borrowing UeventSocket, interrupt: Interrupt? = nil,
        report: (StorageNote) -> Void
    ) throws(StorageError) -> MountedRootfs {
        let disk = try findDisk(request, modules: modules, uevents: uevents, interrupt: interrupt, report: report)
        return try mount(disk, request, modules: modules, interrupt: interrupt, report: report)
    }

    /// The first half of ``mountRootfs(_:modules:uevents:interrupt:report:)``: drivers, and the one disk that is meant.
    public static func findDisk(
        _ request: RootfsRequest, modules: ModuleLoader, uevents: borrowing UeventSocket, interrupt: Interrupt? = nil,
        report: (StorageNote) -> Void
    ) throws(StorageError) -> BlockDevice {
        var finder = DiskFinder(request: request, modules: modules, interrupt: interrupt)
        return try finder.find(uevents: uevents, report: report)
    }

    /// The second half: the filesystem's module, and mount(2) through libmount.
    public static func mount(
        _ disk: BlockDevice, _ request: RootfsRequest, modules: ModuleLoader, interrupt: Interrupt? = nil,
        report: (StorageNote) -> Void
    ) throws(StorageError) -> MountedRootfs {
        let options = try rootfsOptions(request)
        let type = try mountableType(of: disk, request)
        let deadline = Deadline.after(milliseconds: request.mountTimeout)
        let loaded = modules.loadFilesystem(type, until: deadline, interrupt: interrupt)
        if !loaded.loaded.isEmpty { report(StorageNote(.info, "loaded modules " + loaded.loaded.joined(separator: ", "))) }
        for error in loaded.failures { report(StorageNote(.warning, error.description)) }

        let filesystem = disk.content.filesystem
        let object = "\(disk.path) (\(type), \(filesystem?.label.map { "label " + $0 } ?? "no label")) on \(request.target)"
        func failure(_ kind: StorageError.Kind, _ cause: String) -> StorageError { StorageError(kind, "mount", object, cause) }
        if loaded.wasInterrupted { throw failure(.interrupted, "interrupted while loading modules") }
        let work = FilesystemMount(device: disk.path, name: disk.name, type: type, target: request.target, options: options)
        let worker: Worker
        do throws(SyscallError) { worker = try Worker.start("mount " + disk.path) { output in output.send(work.run().encoded) } } catch {
            throw failure(.system, error.description)
        }
        let result = worker.wait(until: deadline, interrupt: interrupt)
        switch result.ending {
        case .finished: break
        case .died(let signal): throw failure(.mountFailed, "the worker died (signal \(signal))")
        case .timedOut(let reaped):
            let rest = reaped ? "" : ", and the worker hangs in the kernel"
            throw failure(.mountFailed, "the disk did not answer within \(request.mountTimeout) ms" + rest)
        case .interrupted: throw failure(.interrupted, "interrupted while mounting")
        }
        switch result.messages.first.flatMap({ FilesystemMount.Outcome(encoded: $0) }) {
        case .mounted(let readOnly):
            let mounted = MountedRootfs(
                device: disk.path, type: type, label: filesystem?.label, uuid: filesystem?.uuid, target: request.target, readOnly: readOnly)
            if readOnly && options.flags & UInt(MS_RDONLY) == 0 {
                report(StorageNote(.warning, "mounted \(object) read-only: the device does not allow writing"))
            } else {
                report(StorageNote(.info, "mounted \(object)" + (readOnly ? " read-only" : "")))
            }
            return mounted
        case .failed(let cause):
            // A driver that was refused is the likelier reason than what mount(2) says of it ("No such device").
            let refused = loaded.failures.map { $0.description }.joined(separator: "; ")
            throw failure(.mountFailed, refused.isEmpty ? cause : cause + " (" + refused + ")")
        case nil: throw failure(.system, "the worker gave no result")
        }
    }
}
