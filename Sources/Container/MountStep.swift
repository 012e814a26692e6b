import CLinux
import ContainerSpec
import Linux
import Storage

/// A file system to mount in the container, ready for mount(2).
public struct MountStep: Equatable, Sendable {
    public var source: String?
    /// Absolute, inside the container's root.
    public var target: String
    /// nil for a bind mount.
    public var type: String?
    /// MS_* flags.
    public var flags: UInt
    /// MS_SHARED, MS_SLAVE, …, each set after the mount, in this order.
    public var propagation: [UInt]
    /// The file system's own options, separated by commas.
    public var data: String
    /// MOUNT_ATTR_* that are set, and cleared, on the mount and on all mounts below it (mount_setattr(2)).
    public var attributes: UInt64 = 0
    public var clearedAttributes: UInt64 = 0
    /// The ID mappings of a bind mount; both lists are empty, or neither is.
    public var uidMappings: [IDMapping] = []
    public var gidMappings: [IDMapping] = []
    /// The mounts below are mapped, too.
    public var mapsRecursively = false

    public init(source: String?, target: String, type: String?, flags: UInt = 0, propagation: [UInt] = [], data: String = "") {
        self.source = source
        self.target = target
        self.type = type
        self.flags = flags
        self.propagation = propagation
        self.data = data
    }

    /// Whether the target itself has to be a directory and no link, which would lead the mount elsewhere in the image and leave the
    /// place without what has to be there. runc has the rule for proc and sysfs.
    var needsDirectory: Bool { type == "proc" || type == "sysfs" || ["/proc", "/sys", "/dev"].contains(Defaults.normalized(target)) }

    /// "tmpfs on /data (size=1m)", "bind /srv on /data"
    var description: String {
        let kind = type ?? "bind \(source ?? "")"
        return "\(kind) on \(target)" + (data.isEmpty ? "" : " (\(data))")
    }
}

extension MountStep {
    /// An entry of `mounts`, taken apart.
    ///
    /// - Parameter spec: what the entry's `idmap` refers to, where it has no mappings of its own.
    /// - Throws: ``LaunchError`` for an option that is not supported.
    init(_ mount: ContainerMount, of spec: ContainerSpec) throws(LaunchError) {
        var recursive = RecursiveOptions()
        let rest = recursive.take(mount.options)
        let options: MountOptions
        do throws(StorageError) { options = try MountOptions.parse(rest) } catch {
            throw LaunchError(error.operation, "of \(mount.destination): \(error.object)", error.cause)
        }
        let isBind = options.flags & UInt(MS_BIND) != 0
        // runc's default configuration asks for "cgroup": on a kernel with the unified hierarchy that is cgroup2.
        let type = mount.type == "cgroup" ? "cgroup2" : mount.type
        self.init(
            source: mount.source ?? type, target: mount.destination, type: isBind ? nil : type, flags: options.flags,
            propagation: options.propagation, data: options.data)
        attributes = recursive.set
        clearedAttributes = recursive.cleared
        uidMappings = mount.uidMappings
        gidMappings = mount.gidMappings
        mapsRecursively = recursive.mapsRecursively
        if recursive.maps && uidMappings.isEmpty {
            uidMappings = spec.uidMappings
            gidMappings = spec.gidMappings
            if uidMappings.isEmpty {
                throw LaunchError(
                    "parse mount option", "of \(mount.destination): idmap", "neither the mount nor the container has mappings")
            }
        }
        if !uidMappings.isEmpty && !isBind {
            throw LaunchError("map the IDs of mount", description, "only a bind mount can be mapped")
        }
    }
}

/// The options of the runtime-spec (config.md, "mounts") that mount(2) does not know: attributes that reach into the mounts
/// below, and id mapping.
struct RecursiveOptions {
    /// MOUNT_ATTR_*.
    private(set) var set: UInt64 = 0
    private(set) var cleared: UInt64 = 0
    private(set) var maps = false
    private(set) var mapsRecursively = false

    private static let accessTimes = UInt64(MOUNT_ATTR__ATIME)

    /// Takes the options it knows out of `options`. A later one overrides an earlier.
    mutating func take(_ options: [String]) -> [String] {
        var rest: [String] = []
        for element in options {
            // A comma in quotes separates nothing; and none of ours has quotes.
            if element.utf8.contains(UInt8(ascii: "\"")) {
                rest.append(element)
                continue
            }
            let others = element.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
                .map { String(Substring($0)) }.filter { !apply($0) }
            if !others.isEmpty { rest.append(others.dropFirst().reduce(others[0]) { $0 + "," + $1 }) }
        }
        return rest
    }

    /// - Returns: whether the option is one of these.
    private mutating func apply(_ option: String) -> Bool {
        switch option {
        case "idmap": maps = true
        case "ridmap":
            maps = true
            mapsRecursively = true
        case "rro": change(on: UInt64(MOUNT_ATTR_RDONLY))
        case "rrw": change(off: UInt64(MOUNT_ATTR_RDONLY))
        case "rnosuid": change(on: UInt64(MOUNT_ATTR_NOSUID))
        case "rsuid": change(off: UInt64(MOUNT_ATTR_NOSUID))
        case "rnodev": change(on: UInt64(MOUNT_ATTR_NODEV))
        case "rdev": change(off: UInt64(MOUNT_ATTR_NODEV))
        case "rnoexec": change(on: UInt64(MOUNT_ATTR_NOEXEC))
        case "rexec": change(off: UInt64(MOUNT_ATTR_NOEXEC))
        case "rnodiratime": change(on: UInt64(MOUNT_ATTR_NODIRATIME))
        case "rdiratime": change(off: UInt64(MOUNT_ATTR_NODIRATIME))
        case "rnosymfollow": change(on: UInt64(MOUNT_ATTR_NOSYMFOLLOW))
        case "rsymfollow": change(off: UInt64(MOUNT_ATTR_NOSYMFOLLOW))
        case "rnoatime": changeAccessTimes(UInt64(MOUNT_ATTR_NOATIME))
        case "rstrictatime": changeAccessTimes(UInt64(MOUNT_ATTR_STRICTATIME))
        // What is left without the other two is relatime, the kernel's default.
        case "rrelatime", "ratime", "rnostrictatime", "rnorelatime": changeAccessTimes(UInt64(MOUNT_ATTR_RELATIME))
        default: return false
        }
        return true
    }

    private mutating func change(on bit: UInt64) {
        set |= bit
        cleared &= ~bit
    }

    private mutating func change(off bit: UInt64) {
        set &= ~bit
        cleared |= bit
    }

    /// The modes are values of one field, which the kernel wants cleared as a whole.
    private mutating func changeAccessTimes(_ mode: UInt64) {
        set = set & ~RecursiveOptions.accessTimes | mode
        cleared |= RecursiveOptions.accessTimes
    }
}
