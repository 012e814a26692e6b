/// Who may write a value: it stands in the very form of the key, for the guest cannot write one that has a `/`.
public enum VICAccess: Equatable, Sendable {
    /// `guestinfo.vice./sessions|1/tty`: the host writes it.
    case readOnly
    /// `guestinfo.vice..sessions|1.started`: the guest writes it, and so can every process of the container that has the backdoor.
    case readWrite
    /// As the structure that the field is in.
    case inherited
}

/// The place of a value among VIC's keys.
///
/// A path of fields and elements. Whether the value is the guest's to write decides how all of the path is written, so the parts
/// of one structure may begin differently: `/networks|web/static`, `.networks|web.assigned.IP`.
public struct VICKey: Equatable, Sendable {
    /// Before every key that the guest can read. Others (annotations, the container's name) it never sees.
    public static let prefix = "guestinfo.vice."
    /// Behind the keys that the host forgets when the VM is powered off.
    public static let nonPersistentSuffix = "@non-persistent"
    /// Behind the keys whose value is encrypted (NaCl's secretbox). No field of a container has one.
    public static let secretSuffix = "@secret"

    private var path: [UInt8]
    /// Whether the guest may write it.
    private(set) var isWritable: Bool
    private var isNonPersistent: Bool
    /// `~`: the values of a list, rather than their number.
    private var isValues = false

    /// The root, which is no key itself.
    public init() {
        path = []
        isWritable = false
        isNonPersistent = false
    }

    /// A field of this structure.
    public func field(_ name: String, _ access: VICAccess = .readOnly, nonPersistent: Bool = false) -> VICKey {
        var key = self
        // Where an element's name has the character that begins a suffix, VIC takes what follows for one.
        if let suffix = path.firstIndex(of: UInt8(ascii: "@")) { key.path.removeSubrange(suffix...) }
        if !key.path.isEmpty { key.path.append(UInt8(ascii: "/")) }
        key.path += Array(name.utf8)
        switch access {
        case .readOnly: key.isWritable = false
        case .readWrite: key.isWritable = true
        case .inherited: break
        }
        key.isNonPersistent = isNonPersistent || nonPersistent
        return key
    }

    /// An element of this map or list.
    public func element(_ name: String) -> VICKey {
        var key = self
        key.path.append(UInt8(ascii: "|"))
        key.path += Array(name.utf8)
        return key
    }

    /// What two elements of a map have in common whose keys the host takes for the same: it does not look at upper and lower case,
    /// and a separator in a name is one of the key.
    var folded: String {
        var bytes: [UInt8] = []
        for byte in path.prefix(while: { $0 != UInt8(ascii: "@") }) {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): bytes.append(byte | 0x20)
            case UInt8(ascii: "."): bytes.append(UInt8(ascii: "/"))
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Where the values of this list are, separated by `|`.
    public var values: VICKey {
        var key = self
        key.isValues = true
        return key
    }

    /// The full name in guestinfo.
    ///
    /// Only one kind of separator is in it: the other becomes this one even where it is part of an element's name.
    public var name: String {
        let separator = isWritable ? UInt8(ascii: ".") : UInt8(ascii: "/")
        var bytes = Array(VICKey.prefix.utf8)
        bytes.append(separator)
        for byte in path { bytes.append(byte == UInt8(ascii: ".") || byte == UInt8(ascii: "/") ? separator : byte) }
        if isValues { bytes.append(UInt8(ascii: "~")) }
        if isNonPersistent { bytes += Array(VICKey.nonPersistentSuffix.utf8) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension VICKey {
    /// The container's id, without which there is no configuration.
    public static let containerID = VICKey().field("common").field("id")

    /// A session of the map `sessions`, or of `execs`, whose keys do not outlive the power-off.
    public static func session(_ id: String, isExec: Bool) -> VICKey {
        VICKey().field(isExec ? "execs" : "sessions", nonPersistent: isExec).element(id)
    }
}
