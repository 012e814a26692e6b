import ContainerSpec
import Linux

/// Which interface a configuration means.
public enum Adapter {
    /// The interface that `match` means: one of `links`, whose place in /sys `path` gives.
    /// - Returns: nil where there is none, or where it is another entry's.
    public static func find(_ match: InterfaceSettings.Match, in links: [Link], path: (Link) -> String?) -> Link? {
        switch match {
        case .name(let name): links.first { $0.name == name }
        case .macAddress(let address): links.first { $0.macAddress == address }
        case .pciSlot(let slot): links.first { path($0).map { isAt(slot, $0) } ?? false }
        }
    }

    /// "the MAC address 52:54:00:12:34:56", for messages.
    public static func text(_ match: InterfaceSettings.Match) -> String {
        switch match {
        case .name(let name): "the name \(name)"
        case .macAddress(let address): "the MAC address \(text(macAddress: address))"
        case .pciSlot(let slot): "the PCI slot \(slot)"
        }
    }

    public static func text(macAddress: [UInt8]) -> String {
        var text = ""
        for byte in macAddress { text += (text.isEmpty ? "" : ":") + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }
        return text
    }

    /// Where the interface is among the devices: what the link /sys/class/net/NAME leads to.
    public static func path(of name: String) -> String? { Files.linkTarget("/sys/class/net/" + name) }

    /// Whether a device of VMware's slot `slot` has the interface at `path`
    /// (`../../devices/pci0000:00/0000:00:15.0/0000:03:00.0/net/eth0`).
    ///
    /// The virtual machine's bridge N is the device 0x10 + N of the first bus, in all chipsets that VMware gives a VM; only the
    /// firmware says what number the bus behind it has.
    static func isAt(_ slot: UInt32, _ path: String) -> Bool {
        var parts = path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }
        guard let end = parts.lastIndex(of: "net") else { return false }
        parts.removeSubrange(end...)
        // A virtio device is one more step below the PCI device.
        if let last = parts.last, last.utf8.starts(with: "virtio".utf8) { parts.removeLast() }
        guard parts.count >= 2 else { return false }
        let (device, bus, function) = (slot & 0x1F, slot >> 5 & 0x1F, slot >> 10 & 0x7)
        let (parent, own) = (parts[parts.count - 2], parts[parts.count - 1])
        if bus == 0 { return parent == "pci0000:00" && own == "0000:00:\(hexadecimal(device)).\(function)" }
        return parent == "0000:00:\(hexadecimal(0x10 + bus)).\(function)" && own.utf8.count == 12
            && own.utf8.suffix(5).elementsEqual(":\(hexadecimal(device)).0".utf8.suffix(5))
    }

    private static func hexadecimal(_ number: UInt32) -> String {
        (number < 16 ? "0" : "") + String(number, radix: 16)
    }
}
