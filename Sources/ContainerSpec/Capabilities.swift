import CCapability

extension CapabilitySets {
    /// The sets of the runtime-spec's example, for a configuration that has no `process.capabilities`.
    public static let standard: CapabilitySets = {
        let write = bit(CAP_AUDIT_WRITE)
        let kill = bit(CAP_KILL)
        let bind = bit(CAP_NET_BIND_SERVICE)
        var sets = CapabilitySets()
        sets.bounding = write | kill | bind
        sets.permitted = write | kill | bind
        sets.inheritable = write | kill | bind
        sets.effective = write | kill
        sets.ambient = bind
        return sets
    }()

    /// The set that holds just the capability `number`; empty for a number no set has room for.
    static func bit(_ number: Int32) -> UInt64 { number < 0 ? 0 : 1 << UInt64(number) }
}
