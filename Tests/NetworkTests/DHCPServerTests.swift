import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Network

/// The real client, as PID 1 starts it, and servers that do what they should not, or not what one hopes.
@Suite("Network: DHCP servers", .serialized) struct DHCPServerTests {
    @Test("A46, A47, A48: no router; the host name arrives; a refusal at renewal; a server that is silent until the lease is over")
    func oddServers() throws {
        let programs = try DHCPPrograms()
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth0", "up"])
            let server = try DHCPServer("veth1")
            defer { server.stop() }
            let client = try DHCPClientProcess(programs, ["-t", "5", "-T", "2", "-O", "subnet", "-O", "router", "-O", "dns"])
            var settings = InterfaceSettings(id: "lan", match: .name("veth0"))
            settings.usesDHCP = true
            var network = NetworkSettings()
            network.interfaces = [settings]
            var state = NetworkState(network)
            state.clientStarted("lan")
            /// What PID 1 does with the next event, and what it is.
            func next() throws -> LeaseEvent {
                let event = try client.next()
                state.take(event, for: "lan", now: Clock.monotonic())
                for wanted in state.takeWork() { for report in try apply([wanted]) { state.take(report, of: wanted) } }
                return event
            }
            func lease() throws -> Lease {
                while true { if case .lease(let lease) = try next() { return lease } }
            }
            func addresses() throws -> String { try busybox(["ip", "-4", "addr", "show", "dev", "veth0"]) }

            // A46: an address, and no way out. A48.
            let first = try lease()
            #expect(first.address == IPPrefix("10.9.0.20/24") && first.routes == [] && state.isReady)
            #expect(try addresses().contains("10.9.0.20/24"))
            #expect(Set(server.hostnames) == ["box"], "\(server.hostnames)")
            // A47: it may not keep the address, and asks for another one.
            server.answer = .refusal
            while true { if try next() == .refused { break } }
            server.answer = .lease(21)
            #expect(try next() == .none)
            #expect(try !addresses().contains("10.9.0.20/24"))
            #expect(try lease().address == IPPrefix("10.9.0.21/24"))
            #expect(try addresses().contains("10.9.0.21/24") && state.isReady)
            // Nobody answers any more: it asks in time, and at the end of the lease the address is no more.
            let before = server.renewals
            server.answer = .nothing
            while true { if try next() == .none { break } }
            #expect(server.renewals > before)
            #expect(try !addresses().contains("10.9.0.21/24") && !state.isReady)
        }
    }
}
