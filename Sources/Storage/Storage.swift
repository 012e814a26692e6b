import KernelModules
import Linux

/// What to mount as the container's root.
public struct RootfsRequest: Sendable {
    public var device: DiskSpecifier
    /// The filesystem type; nil for what libblkid finds.
    public var type: String?
    /// Mount options as in fstab(5), one to an element.
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
        throw StorageError(.system, "mount", disk.path, "this commit holds the interface only")
    }

    /// Unmounts everything at and below `point`, the innermost first, and writes all to the disks.
    ///
    /// What is busy is made read-only and detached, and reported. Returns within `milliseconds`, and a little.
    public static func unmountAll(below point: String, milliseconds: Int64) -> [UnmountFailure] {
        [UnmountFailure(point: point, cause: "this commit holds the interface only")]
    }
}

/// A mount point that was not unmounted cleanly.
public struct UnmountFailure: Equatable, Sendable, CustomStringConvertible {
    public let point: String
    /// Why, what was done instead, and who was using it.
    public let cause: String

    public var description: String { "unmount \(point): \(cause)" }
}
