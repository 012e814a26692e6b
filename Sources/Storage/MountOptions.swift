import CLinux
import CMount

/// Mount options taken apart by libmount, ready for mount(2).
public struct MountOptions: Equatable, Sendable {
    /// MS_RDONLY, MS_BIND | MS_REC, …
    public var flags: UInt = 0
    /// Each MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, with MS_REC where it is recursive: each wants a mount(2) of its
    /// own, after the mount, in this order.
    public var propagation: [UInt] = []
    /// What only the filesystem understands, separated by commas: "size=65536k,mode=755".
    public var data: String = ""

    public init() {}
}

extension MountOptions {
    static let propagationFlags = UInt(MS_PRIVATE) | UInt(MS_SLAVE) | UInt(MS_SHARED) | UInt(MS_UNBINDABLE)

    /// What the OCI runtime specification (config.md, "mounts") names and mount(2) cannot do: attributes that reach into the
    /// mounts below (mount_setattr(2)), and the runtime's own.
    private static let unsupported: Set<String> = [
        "rro", "rrw", "rnosuid", "rsuid", "rnodev", "rdev", "rnoexec", "rexec", "rnodiratime", "rdiratime", "rrelatime", "rnorelatime",
        "rnoatime", "ratime", "rstrictatime", "rnostrictatime", "rnosymfollow", "rsymfollow", "tmpcopyup", "idmap", "ridmap",
    ]
    /// Options of mount(8) that say who may mount or when: nothing to do here.
    private static let withoutEffect: Set<String> = ["defaults", "auto", "noauto", "nofail", "_netdev", "comment"]

    /// Takes options apart.
    ///
    /// Options that are meant for programs (`nofail`, `_netdev`, `x-…`, `comment=`) have no effect here and are dropped.
    /// - Parameter options: one option, or several separated by commas, in each element; a later one overrides an earlier.
    /// - Throws: ``StorageError`` naming an option that we do not support: the recursive attributes of the OCI
    ///   specification (`rro`, `rnosuid`, …), `tmpcopyup`, `idmap`, `move`, and what needs mount(8) itself (`loop`, `user`).
    public static func parse(_ options: [String]) throws(StorageError) -> MountOptions {
        var parsed = MountOptions()
        for element in options {
            if element.utf8.contains(0) { throw refusal(element, "contains a NUL byte") }
            // libmount drops what stands behind a quote that is never closed.
            if element.utf8.count(where: { $0 == UInt8(ascii: "\"") }) % 2 != 0 { throw refusal(element, "has a quote that is not closed") }
            guard let copy = strdup(element) else { throw refusal(element, "out of memory") }
            defer { free(copy) }
            var position: UnsafeMutablePointer<CChar>? = copy
            while true {
                var name: UnsafeMutablePointer<CChar>?
                var nameLength = 0
                var value: UnsafeMutablePointer<CChar>?
                var valueLength = 0
                // 0 an option, 1 the end; negative for an option without a name.
                let status = mnt_optstr_next_option(&position, &name, &nameLength, &value, &valueLength)
                if status == 1 { break }
                guard status == 0, let name else { throw refusal(element, "is not a list of options") }
                var text = bytes(name, nameLength)
                let option = String(decoding: text, as: UTF8.self)
                if let value { text += [UInt8(ascii: "=")] + bytes(value, valueLength) }
                try parsed.apply(name: option, whole: String(decoding: text, as: UTF8.self))
            }
        }
        return parsed
    }

    private mutating func apply(name: String, whole: String) throws(StorageError) {
        if MountOptions.unsupported.contains(name) || name == "move" { throw MountOptions.refusal(whole, "is not supported") }
        if MountOptions.withoutEffect.contains(name) { return }
        var user: UnsafeMutablePointer<CChar>?
        var vfs: UnsafeMutablePointer<CChar>?
        var filesystem: UnsafeMutablePointer<CChar>?
        guard mnt_split_optstr(whole, &user, &vfs, &filesystem, 0, 0) == 0 else {
            throw MountOptions.refusal(whole, "libmount cannot parse it")
        }
        defer {
            free(user)
            free(vfs)
            free(filesystem)
        }
        if let vfs {
            let map = mnt_get_builtin_optmap(Int32(MNT_LINUX_MAP))
            var alone: UInt = 0
            guard mnt_optstr_get_flags(vfs, &alone, map) == 0 else { throw MountOptions.refusal(whole, "libmount cannot parse it") }
            if alone & MountOptions.propagationFlags != 0 {
                propagation.append(alone)
            } else {
                // The flags so far go in: "rw" after "ro" takes a bit away.
                _ = mnt_optstr_get_flags(vfs, &flags, map)
            }
        } else if user != nil {
            let isForPrograms = name.utf8.starts(with: "x-".utf8) || name.utf8.starts(with: "X-".utf8)
            if !isForPrograms { throw MountOptions.refusal(whole, "needs mount(8), which is not here") }
        } else {
            data += data.isEmpty ? whole : "," + whole
        }
    }

    private static func bytes(_ start: UnsafeMutablePointer<CChar>, _ count: Int) -> [UInt8] {
        UnsafeBufferPointer(start: start, count: count).map { UInt8(bitPattern: $0) }
    }

    private static func refusal(_ option: String, _ cause: String) -> StorageError {
        StorageError(.invalidRequest, "parse mount option", option, cause)
    }
}
