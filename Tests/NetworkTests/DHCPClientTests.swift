import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Network

/// The real client, as PID 1 starts it, and busybox's server.
@Suite("Network: DHCP client", .serialized) struct DHCPClientTests {
    @Test func theClientGetsALeaseWithTheFewestRights() throws {
        let programs = try DHCPPrograms()
        let directory = programs.directory
        let configuration = """
            start 10.9.0.20
            end 10.9.0.20
            interface veth1
            lease_file \(directory)/leases
            pidfile \(directory)/pid
            option subnet 255.255.255.0
            option router 10.9.0.1
            option dns 10.9.0.3
            option domain example.org
            option search a.example b.example
            option mtu 1400
            option staticroutes 10.8.0.0/16 10.9.0.9 0.0.0.0/0 10.9.0.1
            option lease 60

            """
        try configuration.write(toFile: directory + "/udhcpd.conf", atomically: true, encoding: .utf8)
        try Data().write(to: URL(fileURLWithPath: directory + "/leases"))
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth0", "up"])
            // Another machine: in the same namespace the renewal, which goes to the server's own address, would never see the cable.
            let script = """
                until busybox ip link set veth1 up 2>/dev/null; do sleep 0.05; done; busybox ip addr add 10.9.0.1/24 dev veth1; \
                exec busybox udhcpd -f \(directory)/udhcpd.conf
                """
            let server = try start(["unshare", "-n", "sh", "-c", "'\(script)'"], pidFile: directory + "/server")
            func namespace(_ process: String) -> String? { Files.linkTarget("/proc/\(process)/ns/net") }
            let deadline = Deadline.after(milliseconds: 10_000)
            while !deadline.hasPassed {
                let pid = (try? Files.readText(directory + "/server")) ?? ""
                if !pid.isEmpty, let theirs = namespace(pid), theirs != namespace("thread-self") { break }
                usleep(10_000)
            }
            try busybox(["ip", "link", "set", "veth1", "netns", try Files.readText(directory + "/server")])
            defer {
                // Not SIGTERM, which such a thread has blocked, and with it whatever it starts.
                if let pid = (try? Files.readText(directory + "/server")).flatMap({ Int32($0) }) { kill(pid, SIGKILL) }
                pclose(server)
            }

            let client = try DHCPClientProcess(
                programs,
                [
                    "-t", "5", "-T", "1", "-O", "subnet", "-O", "router", "-O", "dns", "-O", "domain", "-O", "search", "-O", "staticroutes",
                    "-O", "mtu", "-x", "0x3d:ff00123456000200001adcaf63dc4c8601ec8c",
                ])
            var events: [LeaseEvent] = []
            func next() throws -> LeaseEvent {
                let event = try client.next()
                events.append(event)
                return event
            }
            while true { if case .lease = try next() { break } }
            #expect(events.first == LeaseEvent.none)
            guard case .lease(let lease)? = events.last else { throw NetworkError("dhcp", "", "no lease") }
            #expect(lease.address == IPPrefix("10.9.0.20/24"))
            #expect(lease.routes.map { $0.description } == ["10.8.0.0/16 via 10.9.0.9", "default via 10.9.0.1"])
            #expect(lease.nameservers == [try ipAddress("10.9.0.3")])
            #expect(lease.searchDomains == ["a.example", "b.example"] && lease.mtu == 1400 && lease.seconds == 60)

            let status = try Files.readText("/proc/\(client.pid)/status")
            for line in [
                "Uid:\t2147480002\t2147480002\t2147480002\t2147480002", "CapEff:\t0000000000002400", "CapBnd:\t0000000000002400",
                "NoNewPrivs:\t1",
            ] {
                #expect(status.contains(line), "\(status)")
            }
            let mounts = try Files.readText("/proc/\(client.pid)/mountinfo")
            for path in [" /proc ", " /sys ", " /run "] { #expect(!mounts.contains(path), "\(mounts)") }
            // It is renewed, with the address in use.
            let reports = try apply([wanted("lan", .name("veth0")) { $0.addresses = [lease.address] }])
            #expect(reports.map { $0.outcome } == [.done])
            try client.signal(SIGUSR1)
            #expect(try next() == .lease(lease))
            // It gives the lease back when it is asked to end.
            try client.signal(SIGTERM)
            #expect(try next() == .none)
            try client.waitForEnd()
            #expect(client.said().contains("unicasting a release"))
        }
    }
}
