import ContainerSpec
import Linux
import Testing

@testable import Network

@Suite("Leases") struct LeaseTests {
    private func message(_ event: String, _ environment: [String]) -> [UInt8] {
        LeaseMessage.encode(event, environment) ?? []
    }

    private func lease(_ environment: [String], _ event: String = "bound") throws -> Lease {
        guard case .lease(let lease) = try LeaseMessage.decode(message(event, environment)) else {
            throw NetworkError("decode", "", "no lease")
        }
        return lease
    }

    @Test func whatAServerGivesIsRead() throws {
        let lease = try lease([
            "interface=eth0", "ip=10.0.2.15", "subnet=255.255.255.0", "mask=24", "router=10.0.2.2 10.0.2.9",
            "dns=10.0.2.3 10.0.2.4 10.0.2.3",
            "domain=example.org", "search=a.example b.example", "lease=86400", "serverid=10.0.2.2", "mtu=1400", "opt53=05",
        ])
        var expected = Lease(address: try ipPrefix("10.0.2.15/24"))
        expected.routes = [Route(to: nil, via: IPAddress("10.0.2.2"), metric: nil, origin: .dhcp)]
        expected.nameservers = try ["10.0.2.3", "10.0.2.4"].map { try ipAddress($0) }
        expected.searchDomains = ["a.example", "b.example"]
        expected.mtu = 1400
        expected.seconds = 86_400
        expected.server = IPAddress("10.0.2.2")
        #expect(lease == expected)
    }

    @Test func aLeaseNeedsNoMoreThanAnAddress() throws {
        // No router, no server's address, no time, no mask: VIC's own client waits for another offer, in vain.
        #expect(try lease(["ip=10.1.2.3"]).address.text == "10.1.2.3/8")
        #expect(try lease(["ip=172.16.2.3"]).address.text == "172.16.2.3/16")
        #expect(try lease(["ip=192.168.2.3"]).address.text == "192.168.2.3/24")
        #expect(try lease(["ip=192.168.2.3"]).seconds == nil)
        #expect(try lease(["ip=192.168.2.3", "lease=4294967295"]).seconds == nil)
        // As the client counts it: it renews after half of these.
        #expect(try lease(["ip=192.168.2.3", "lease=4"]).seconds == 30)
        #expect(try lease(["ip=192.168.2.3", "lease=31"]).seconds == 31)
        #expect(try lease(["ip=192.168.2.3", "mask=20"]).address.length == 20)
        #expect(try lease(["ip=192.168.2.3", "subnet=255.255.255.255"]).address.length == 32)
        #expect(try lease(["ip=192.168.2.3", "domain=example.org other.example"], "renew").searchDomains == ["example.org"])
    }

    @Test func classlessRoutesAreInTheRoutersPlace() throws {
        let lease = try lease([
            "ip=10.0.0.5", "mask=32", "router=10.0.0.1",
            "staticroutes=10.0.0.1/32 0.0.0.0 0.0.0.0/0 10.0.0.1 10.9.7.3/8 10.0.0.2 10.0.0.0/8",
        ])
        #expect(lease.routes.map { $0.description } == ["10.0.0.1/32", "default via 10.0.0.1", "10.0.0.0/8 via 10.0.0.2"])
        #expect(lease.ignored == ["route 10.0.0.0/8"])
    }

    @Test func aDestinationHasOneRoute() throws {
        let lease = try lease([
            "ip=10.0.0.5", "mask=24", "staticroutes=10.8.0.0/16 10.0.0.9 10.8.1.1/16 10.0.0.8 0.0.0.0/0 10.0.0.1 0.0.0.0/0 10.0.0.2",
        ])
        #expect(lease.routes.map { $0.description } == ["10.8.0.0/16 via 10.0.0.9", "default via 10.0.0.1"])
        #expect(lease.ignored == ["route 10.8.1.1/16 via 10.0.0.8", "route 0.0.0.0/0 via 10.0.0.2"])
    }

    @Test func whatCannotBeUsedIsLeftOut() throws {
        let lease = try lease([
            "ip=10.0.0.5", "mask=24", "router=0.0.0.0 224.0.0.1 10.0.0.1", "dns=127.0.0.1 10.0.0.256 10.0.0.3", "mtu=68",
            "search=ok.example bad\nnameserver .x " + String(repeating: "x", count: 254),
        ])
        #expect(lease.routes.map { $0.description } == ["default via 10.0.0.1"])
        #expect(lease.nameservers == [try ipAddress("10.0.0.3")])
        #expect(lease.searchDomains == ["ok.example"])
        #expect(lease.mtu == nil)
        // Told, but no more than a few, and nothing that would look like a line of ours.
        #expect(lease.ignored.count == 8)
        #expect(lease.ignored.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && $0.utf8.count < 80 })
    }

    @Test(
        "leases that are none",
        arguments: [
            ([], "no address"), (["ip=0.0.0.0"], "0.0.0.0"), (["ip=255.255.255.255"], "255.255.255.255"), (["ip=::1"], "::1"),
            (["ip=10.0.0.5", "subnet=255.0.255.0"], "subnet mask"), (["ip=10.0.0.5", "subnet=0.0.0.0"], "subnet mask"),
            (["ip=10.0.0.5", "mask=33"], "subnet mask"), (["ip=10.0.0.5", "lease=0"], "time"), (["ip=10.0.0.5", "lease=-1"], "time"),
        ] as [([String], String)])
    func refused(_ environment: [String], _ part: String) {
        let error = #expect(throws: NetworkError.self) { try LeaseMessage.decode(message("bound", environment)) }
        #expect(error?.description.contains(part) == true, "\(String(describing: error))")
    }

    @Test func eventsWithoutALease() throws {
        #expect(try LeaseMessage.decode(message("deconfig", ["ip=10.0.0.5"])) == .none)
        #expect(try LeaseMessage.decode(message("leasefail", [])) == .noAnswer)
        #expect(try LeaseMessage.decode(message("nak", [])) == .refused)
        for bytes in [
            [], [0], Array("bound".utf8), Array("bound\u{0}ip\u{0}".utf8), Array("reboot\u{0}".utf8),
            [UInt8](repeating: 0x41, count: 16_385),
        ] as [[UInt8]] {
            #expect(throws: NetworkError.self, "\(bytes.prefix(8))") { try LeaseMessage.decode(bytes) }
        }
        #expect(LeaseMessage.encode("bound", ["dns=" + String(repeating: "1.2.3.4 ", count: 3000)]) == nil)
        #expect(LeaseMessage.encode("bound", ["LD_PRELOAD=x", "ip=1.2.3.4", "ipv=1"]) == Array("bound\u{0}ip=1.2.3.4\u{0}".utf8))
    }
}
