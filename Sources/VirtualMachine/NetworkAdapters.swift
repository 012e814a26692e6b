extension MachineConfiguration {
    /// What an adapter is connected to.
    public enum Network: String, Sendable, CaseIterable {
        /// QEMU's own network, with NAT: the guest is 10.0.2.15 by DHCP, its gateway and way to this machine 10.0.2.2, its name server
        /// 10.0.2.3; on a second adapter 10.0.3.15 and so on.
        case user
    }

    /// A port of this machine that leads to one of the guest's.
    public struct PublishedPort: Sendable, Equatable {
        /// Of this machine, IPv4.
        public var address: String
        public var hostPort: UInt16
        public var guestPort: UInt16
        public var isUDP: Bool

        /// Reads `[address:]port:port[/tcp|/udp]`, as Docker's `--publish` has it; without an address it is 127.0.0.1.
        public init?(_ text: String) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, parts.count == 1 || parts[1] == "tcp" || parts[1] == "udp" else { return nil }
            var ports = parts[0].split(separator: ":", omittingEmptySubsequences: false)
            guard ports.count == 2 || ports.count == 3, let guest = Self.port(ports.removeLast()), let host = Self.port(ports.removeLast())
            else { return nil }
            address = ports.first.map(String.init) ?? "127.0.0.1"
            let octets = address.split(separator: ".", omittingEmptySubsequences: false)
            guard octets.count == 4, octets.allSatisfy({ UInt8($0) != nil && $0.first != "+" }) else { return nil }
            hostPort = host
            guestPort = guest
            isUDP = parts.count == 2 && parts[1] == "udp"
        }

        private static func port(_ text: Substring) -> UInt16? {
            guard let number = UInt16(text), number > 0, text.first != "+" else { return nil }
            return number
        }

        var rule: String { "hostfwd=\(isUDP ? "udp" : "tcp"):\(address):\(hostPort)-:\(guestPort)" }
    }

    /// Where the adapters are, as VMware numbers the slots of its VMs (`ethernetN.pciSlotNumber`): bits 0…4 of a number are the device
    /// behind a bridge, bits 5…9 and 10…12 which bridge: the device 0x10 and that number, and its function. VMware, too, begins there.
    public static let adapterSlots = [192, 224, 256]

    /// The adapters, VMware's own kind, each behind a bridge of its own.
    var networkArguments: [String] {
        var line: [String] = []
        for (index, (network, slot)) in zip(networks, Self.adapterSlots).enumerated() {
            switch network {
            case .user:
                // Those of the first are enough: all lead to this machine.
                let rules = index == 0 ? publishedPorts.map { "," + $0.rule } : []
                // Each its own subnet, so that a guest with several knows which way to go.
                line += ["-netdev", "user,id=net\(index),net=10.0.\(index + 2).0/24" + rules.joined()]
            }
            let place = "addr=0x\(String(0x10 + slot >> 5 & 0x1F, radix: 16)).\(slot >> 10 & 7)"
            switch board {
            case .q35: line += ["-device", "pcie-root-port,id=slot\(slot),bus=pcie.0,\(place),chassis=\(index + 1),slot=\(index + 1)"]
            // A bridge that can take devices while it runs has no device 0.
            case .pc: line += ["-device", "pci-bridge,id=slot\(slot),bus=pci.0,\(place),chassis_nr=\(index + 1),shpc=off"]
            }
            // Without its ROM, from which firmware would boot.
            let address = "mac=" + hardwareAddress(index)
            line += ["-device", "vmxnet3,netdev=net\(index),bus=slot\(slot),addr=0x\(String(slot & 0x1F, radix: 16)),\(address),romfile="]
        }
        return line
    }

    /// As VMware makes them: its own three bytes, and three of the VM's UUID.
    private func hardwareAddress(_ index: Int) -> String {
        let own =
            uuid.count == 16
            ? Array(uuid[13...14]) + [uuid[15] &+ UInt8(truncatingIfNeeded: index)] : [0, 0, UInt8(truncatingIfNeeded: index)]
        return ([0x00, 0x0C, 0x29] + own).map { String(decoding: Hexadecimal.encode(CollectionOfOne($0)), as: UTF8.self) }.joined(
            separator: ":")
    }
}
