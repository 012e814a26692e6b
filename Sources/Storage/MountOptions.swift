/// Mount options taken apart by libmount, ready for mount(2).
public struct MountOptions: Equatable, Sendable {
    /// MS_RDONLY, MS_BIND | MS_REC, …
    public var flags: UInt
    /// Each MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, with MS_REC where it is recursive: each wants a mount(2) of its
    /// own, after the mount, in this order.
    public var propagation: [UInt]
    /// What only the filesystem understands, separated by commas: "size=65536k,mode=755".
    public var data: String
}

extension MountOptions {
    /// Takes options apart.
    ///
    /// Options that are meant for programs (`nofail`, `_netdev`, `x-…`, `comment=`) have no effect here and are dropped.
    /// - Throws: ``StorageError`` naming an option that we do not support: the recursive attributes of the OCI
    ///   specification (`rro`, `rnosuid`, …), `tmpcopyup`, `idmap`, and what needs mount(8) itself (`loop`, `user`).
    public static func parse(_ options: [String]) throws(StorageError) -> MountOptions {
        throw StorageError(.system, "parse mount options", "", "this commit holds the interface only")
    }
}
