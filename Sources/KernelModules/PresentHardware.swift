import Linux

/// What /sys says about the devices that are there.
enum PresentHardware {
    /// The modaliases of all devices on all buses, each once, in the order of the buses' and devices' names.
    static func modaliases(sysfs: String = "/sys") -> [String] {
        var seen: Set<String> = []
        var found: [String] = []
        for bus in (try? Files.list(sysfs + "/bus")) ?? [] {
            let devices = sysfs + "/bus/" + bus + "/devices"
            for device in (try? Files.list(devices)) ?? [] {
                // A device may go between the two calls, and many have no modalias.
                guard let alias = try? Files.readText(devices + "/" + device + "/modalias", limit: 4096), !alias.isEmpty else { continue }
                if seen.insert(alias).inserted { found.append(alias) }
            }
        }
        return found
    }
}

extension ModuleSelection {
    /// Whether a device with this modalias gets its module.
    public func includes(_ alias: String) -> Bool {
        switch self {
        case .all: return true
        case .network:
            let bytes = Array(alias.utf8)
            if bytes.starts(with: "virtio:d00000001".utf8) { return true }
            // A virtio device shows itself behind a PCI device, whose class says what it is, too.
            return bytes.starts(with: "pci:".utf8) && ModuleSelection.pciClass(bytes) == "02"
        case .boot:
            let bytes = Array(alias.utf8)
            if bytes.starts(with: "scsi:".utf8) { return !bytes.starts(with: "scsi:t-0x05".utf8) }
            // Virtio device numbers 2 (block) and 8 (SCSI host): virtio specification 1.2, section 5.
            if bytes.starts(with: "virtio:d00000002".utf8) || bytes.starts(with: "virtio:d00000008".utf8) { return true }
            if bytes.starts(with: "pci:".utf8) { return ModuleSelection.pciClass(bytes) == "01" }
            // The power button, as a device of ACPI or a fixed feature: a stop may be asked for while the disk is waited for.
            return bytes.starts(with: "acpi:PNP0C0C:".utf8) || bytes.starts(with: "acpi:LNXPWRBN:".utf8)
        }
    }

    /// The base class in "pci:v…d…sv…sd…bc01sc00i00": the two digits behind the first "bc", which no field before it can hold,
    /// since the kernel writes hexadecimal digits in upper case.
    private static func pciClass(_ alias: [UInt8]) -> String? {
        guard alias.count >= 4 else { return nil }
        for index in 0..<(alias.count - 3) where alias[index] == UInt8(ascii: "b") && alias[index + 1] == UInt8(ascii: "c") {
            return String(decoding: alias[(index + 2)..<(index + 4)], as: UTF8.self)
        }
        return nil
    }
}
