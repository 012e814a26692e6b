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
        let directory = "/tmp/tether-network-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        for name in ["udhcpc", "tether-lease"] {
            try FileManager.default.copyItem(atPath: root + "/build/" + name, toPath: directory + "/" + name)
        }
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth0", "up"])
            let server = try DHCPServer("veth1")
            defer { server.stop() }
            var ends: (Int32, Int32) = (-1, -1)
            try attempt("socketpair") {
                withUnsafeMutableBytes(of: &ends) {
                    socketpair(AF_UNIX, clinux_packet_socket, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self))
                }
            }
            let ours = FileDescriptor(owning: ends.0)
            let theirs = FileDescriptor(owning: ends.1)
            let words = [
                directory + "/udhcpc", "-f", "-R", "-i", "veth0", "-s", directory + "/tether-lease", "-t", "5", "-T", "2", "-A", "1", "-o",
                "-O", "subnet", "-O", "router", "-O", "dns", "-x", "hostname:box",
            ]
            let text: [UInt8] = words.reduce(into: []) { $0 += Array($1.utf8) + [0] }
            let errors = try FileDescriptor.open("/dev/null", O_WRONLY)
            let pid = try text.withUnsafeBytes { bytes in
                try attempt("start") {
                    clinux_start_dhcp_client(
                        bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(words.count), theirs.rawValue, errors.rawValue,
                        2_147_480_002)
                }
            }
            defer {
                kill(pid, SIGKILL)
                waitpid(pid, nil, 0)
            }
            var settings = InterfaceSettings(id: "lan", match: .name("veth0"))
            settings.usesDHCP = true
            var network = NetworkSettings()
            network.interfaces = [settings]
            var state = NetworkState(network)
            state.clientStarted("lan")
            /// What PID 1 does with the next event, and what it is.
            func next() throws -> LeaseEvent {
                var watched = pollfd(fd: ours.rawValue, events: Int16(POLLIN), revents: 0)
                try #require(poll(&watched, 1, 60_000) == 1, "nothing from the client")
                let event = try LeaseMessage.decode(try #require(try ours.read(atMost: LeaseMessage.limit + 1)))
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
