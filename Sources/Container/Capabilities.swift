import CCapability
import CLinux
import CSpawn
import ContainerSpec

/// capabilities(7), through libcap.
enum Capabilities {
    /// The highest capability of the running kernel.
    static var last: Int32 { Int32(clamping: cap_max_bits()) &- 1 }

    /// "CAP_NET_ADMIN"
    static func name(_ number: UInt32) -> String {
        guard let text = cap_to_name(cap_value_t(clamping: number)) else { return "capability \(number)" }
        defer { cap_free(text) }
        return "CAP_" + String(decoding: String(cString: text).utf8.dropFirst(4).map(upper), as: UTF8.self)
    }

    private static func upper(_ byte: UInt8) -> UInt8 { byte >= 0x61 && byte <= 0x7A ? byte - 0x20 : byte }

    /// libcap's form of the three sets that capset(2) takes; nil when memory is short. The caller frees it.
    static func make(_ sets: CapabilitySets) -> cap_t? {
        guard let capabilities = cap_init() else { return nil }
        for number in 0...max(0, last) {
            let bit = UInt64(1) << UInt64(number)
            for (set, flag) in [(sets.effective, CAP_EFFECTIVE), (sets.permitted, CAP_PERMITTED), (sets.inheritable, CAP_INHERITABLE)]
            where set & bit != 0 {
                if cspawn_capability_set(capabilities, Int32(flag.rawValue), number) != 0 {
                    cap_free(UnsafeMutableRawPointer(capabilities))
                    return nil
                }
            }
        }
        return capabilities
    }
}
