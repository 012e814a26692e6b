import CCapability
import CLinux

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

    /// All that the kernel has, but inherited by no program that the user's own rights would not give them to: as root of a VM.
    public static var all: CapabilitySets {
        let last = min(max(cap_max_bits(), 0), 64)
        let every = last == 64 ? UInt64.max : (1 << UInt64(last)) - 1
        var sets = CapabilitySets()
        sets.bounding = every
        sets.permitted = every
        sets.effective = every
        return sets
    }

    /// The sets that `process.capabilities` lists; one that is absent is empty.
    init(_ reader: ObjectReader) {
        self.init()
        effective = CapabilitySets.set(reader, "effective")
        bounding = CapabilitySets.set(reader, "bounding")
        inheritable = CapabilitySets.set(reader, "inheritable")
        permitted = CapabilitySets.set(reader, "permitted")
        ambient = CapabilitySets.set(reader, "ambient")
        // The kernel would refuse both only after the namespaces are made, and with no more than EPERM.
        CapabilitySets.report(effective & ~permitted, reader, "effective", "permitted")
        CapabilitySets.report(ambient & ~permitted, reader, "ambient", "permitted")
        CapabilitySets.report(ambient & ~inheritable, reader, "ambient", "inheritable")
        reader.warnOfUnknown(["effective", "bounding", "inheritable", "permitted", "ambient"])
    }

    /// The set that holds just the capability `number`; empty for a number no set has room for.
    private static func bit(_ number: Int32) -> UInt64 { number < 0 ? 0 : 1 << UInt64(number) }

    /// The capabilities that an array lists.
    static func set(_ reader: ObjectReader, _ name: String) -> UInt64 {
        var set: UInt64 = 0
        _ = reader.strings(name) { text in
            guard let number = number(text) else { return "expected a capability such as \"CAP_KILL\", found \(quoted(text))" }
            guard number < cap_max_bits() else { return "the kernel does not know \(text)" }
            set |= bit(number)
            return nil
        }
        return set
    }

    /// libcap's number for a name; libcap itself would take bare numbers and lower case too, which the runtime-spec does not.
    private static func number(_ name: String) -> Int32? {
        var number: cap_value_t = -1
        guard name.hasPrefix("CAP_"), !name.utf8.contains(where: { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }),
            cap_from_name(name, &number) == 0
        else { return nil }
        return number
    }

    /// Reports the capabilities that `name` has and `other` lacks.
    private static func report(_ missing: UInt64, _ reader: ObjectReader, _ name: String, _ other: String) {
        guard missing != 0 else { return }
        var names = ""
        for number in 0..<Int32(64) where missing & bit(number) != 0 {
            names += (names.isEmpty ? "" : ", ") + CapabilitySets.name(number)
        }
        reader.report(.invalid, name, "\(names) must be in \(other) too")
    }

    /// libcap's name of a capability, in the upper case of the runtime-spec.
    private static func name(_ number: Int32) -> String {
        guard let text = cap_to_name(number) else { return "capability \(number)" }
        defer { cap_free(text) }
        return String(cString: text).uppercased()
    }
}
