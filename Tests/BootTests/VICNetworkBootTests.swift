import Foundation
import SessionLog
import Testing
import VIC

/// VIC's networks: A44 (an adapter that is not there), A45 (DHCP and static). A46–A48 are in NetworkTests/DHCPServerTests, where the
/// DHCP server is ours; A57 (a lease that changes) is in parts: the files in LinuxTests/SharedFileTests, what is told of it in
/// VICTests/NetworkTests.
@Suite("Boot: VIC's networks", .serialized) struct VICNetworkBootTests {
    /// Adapters where VMware has the slots 160, 192 and 1184, the first one on QEMU's own network, the others on none.
    private static let adapters = [
        "-netdev", "user,id=ext", "-netdev", "hubport,id=int,hubid=7", "-netdev", "hubport,id=far,hubid=8",
        "-device", "pcie-root-port,id=p0,bus=pcie.0,addr=0x15.0,multifunction=on,chassis=8,slot=8",
        "-device", "pcie-root-port,id=p1,bus=pcie.0,addr=0x15.1,chassis=9,slot=9",
        "-device", "pcie-root-port,id=p2,bus=pcie.0,addr=0x16.0,chassis=10,slot=10",
        "-device", "vmxnet3,netdev=far,bus=p1,addr=0,romfile=", "-device", "vmxnet3,netdev=ext,bus=p0,addr=0,romfile=",
        "-device", "vmxnet3,netdev=int,bus=p2,addr=0,romfile=",
    ].map { "--qemu-arg=" + $0 }

    private func network(_ key: String, slot: Int, _ change: (inout VICNetworkEndpoint) -> Void) -> VICNetworkEndpoint {
        var endpoint = VICNetworkEndpoint()
        endpoint.key = key
        endpoint.id = "\(slot)"
        endpoint.network.name = key
        change(&endpoint)
        return endpoint
    }

    private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    @Test("A45: adapters by their slots, DHCP and static, told to the portlayer before the start")
    func addresses() throws {
        let id = String(repeating: "4", count: 64)
        var config = VICVM.config(id, ["sh", "-c", "ip addr; ip route; cat /etc/hosts /etc/resolv.conf"])
        config.networks = [
            network("ext", slot: 160) { $0.network.isDefault = true },
            network("int", slot: 192) {
                $0.name = "back0"
                $0.isStatic = true
                $0.isInternal = true
                var range = VICAddressRange()
                range.ip = VICAddress([10, 2, 0, 5])
                range.mask = VICAddress([255, 255, 0, 0])
                $0.ip = range
            },
        ]
        let run = try VICVM.boot(options: Self.adapters, config)
        #expect(run.vm.code == 0, "\(run.vm.finished.errorText) \(run.vm.console.suffix(3000))")
        for part in [
            "inet 10.0.2.15/24", "inet 10.2.0.5/16 brd 10.2.255.255 scope global back0", "default via 10.0.2.2", "10.0.2.15\text.localhost",
            "10.2.0.5\tint.localhost", "nameserver 10.0.2.3\noptions timeout:15 attempts:5",
        ] { #expect(run.vm.out.contains(part), "\(part): \(run.vm.out)") }
        // The adapter in slot 1184 is nobody's.
        #expect(run.vm.out.contains("state DOWN") || run.vm.out.contains("qdisc noop"), "\(run.vm.out)")
        func variable(_ name: String) -> String? { run.variables["guestinfo.vice..networks|" + name] }
        #expect(variable("ext.assigned.ip") == base64([10, 0, 2, 15]))
        #expect(variable("ext.assigned.mask") == base64([255, 255, 255, 0]))
        #expect(variable("ext.network.assigned.gateway.ip") == base64([10, 0, 2, 2]))
        #expect(variable("ext.network.assigned.dns") == "0")
        #expect(variable("ext.network.assigned.dns|0") == base64([10, 0, 2, 3]))
        #expect(variable("int.assigned.ip") == base64([10, 2, 0, 5]))
        #expect(variable("int.assigned.mask") == base64([255, 255, 0, 0]))
        let order = run.sets.map { $0.key }
        let assigned = try #require(order.lastIndex { $0.contains("assigned") })
        #expect(assigned < (try #require(order.firstIndex { $0.hasSuffix(".started") })))
        #expect(run.result(id, "started") == "true")
        let adapters = try #require(run.vm.status["network"] as? [[String: Any]])
        #expect(Set(adapters.compactMap { $0["source"] as? String }) == ["dhcp", "static"])
    }

    private func range(_ address: [UInt8], _ mask: [UInt8]) -> VICAddressRange {
        var range = VICAddressRange()
        range.ip = VICAddress(address)
        range.mask = VICAddress(mask)
        return range
    }

    @Test("A45: a VM whose addresses, routes and name servers are all of its configuration; a route that cannot be is none")
    func fixed() throws {
        let id = String(repeating: "6", count: 64)
        var config = VICVM.config(id, ["sh", "-c", "ip route; cat /etc/resolv.conf; ping -c 1 -w 20 10.0.2.2 >/dev/null && echo reached"])
        config.networks = [
            network("ext", slot: 160) {
                $0.name = "front0"
                $0.isStatic = true
                $0.ip = range([10, 0, 2, 77], [255, 255, 255, 0])
                $0.network.isDefault = true
                $0.network.gateway = range([10, 0, 2, 2], [255, 255, 255, 0])
                $0.network.nameservers = [VICAddress([10, 0, 2, 3]), VICAddress([192, 0, 2, 53])]
            },
            network("int", slot: 192) {
                $0.name = "back0"
                $0.ip = range([10, 2, 0, 5], [255, 255, 0, 0])
                $0.network.gateway = range([10, 2, 0, 1], [255, 255, 0, 0])
                // The second is the adapter's own network, where the kernel has a route.
                $0.network.destinations = [range([172, 16, 0, 0], [255, 240, 0, 0]), range([10, 2, 0, 0], [255, 255, 0, 0])]
            },
        ]
        let run = try VICVM.boot(options: Self.adapters, config)
        #expect(run.vm.code == 0, "\(run.vm.finished.errorText) \(run.vm.console.suffix(3000))")
        let lines = run.vm.out.split(separator: "\n").map { $0.split(separator: " ").filter { $0 != "linkdown" }.joined(separator: " ") }
        #expect(
            lines == [
                "default via 10.0.2.2 dev front0", "10.0.2.0/24 dev front0 scope link src 10.0.2.77",
                "10.2.0.0/16 dev back0 scope link src 10.2.0.5", "172.16.0.0/12 via 10.2.0.1 dev back0", "nameserver 10.0.2.3",
                // That of a network without one of its own is its gateway.
                "nameserver 192.0.2.53", "nameserver 10.2.0.1", "options timeout:15 attempts:5", "reached",
            ], "\(run.vm.out)")
        #expect(run.vm.console.contains("add route 10.2.0.0/16 via 10.2.0.1 to back0: "))
        func variable(_ name: String) -> String? { run.variables["guestinfo.vice..networks|" + name] }
        #expect(variable("ext.assigned.ip") == base64([10, 0, 2, 77]) && variable("int.assigned.ip") == base64([10, 2, 0, 5]))
        #expect(variable("ext.network.assigned.gateway.ip") == base64([10, 0, 2, 2]) && variable("ext.network.assigned.dns") == "1")
    }

    @Test(
        "A44: a network without an adapter, and one without an answer, fail the start after VIC's 10 s, and say why",
        arguments: [
            (224, "find network adapter far: none with the PCI slot 224 has appeared within 10 s"), (1184, ": no lease within 10 s"),
        ])
    func notThere(slot: Int, words: String) throws {
        let id = String(repeating: "5", count: 64)
        var config = VICVM.config(id, ["true"])
        config.networks = [network("far", slot: slot) { $0.network.isDefault = true }]
        let run = try VICVM.boot(options: Self.adapters, config)
        #expect(run.vm.exit == nil && run.vm.status["exitCode"] as? Int == 125)
        let started = try #require(run.result(id, "started"))
        #expect(started.hasSuffix(words) && (slot == 224 || started.hasPrefix("dhcp ")), "\(started)")
        #expect(run.result(id, "status") == "125" && run.vm.console.contains("Power down"))
        #expect(run.vm.console.contains(words))
    }
}
