import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// VMs with network adapters. QEMU's user network has a DHCP server at 10.0.2.2, which gives 10.0.2.15, and calls 10.0.2.3 its name server.
@Suite("Boot: network", .serialized) struct NetworkBootTests {
    private static let user = ["--qemu-arg=-nic", "--qemu-arg=user,model=vmxnet3,mac=52:54:00:12:34:56"]
    /// A cable that leads nowhere.
    private static let nowhere = ["--qemu-arg=-nic", "--qemu-arg=hubport,hubid=7,model=vmxnet3"]

    private func network(_ ethernets: [String: Any]) -> [String: Any] { ["network": ["version": 2, "ethernets": ethernets]] }

    /// Of the status: its adapters, by name.
    private func adapters(_ vm: VM) throws -> [String: [String: Any]] {
        let list = try #require(vm.status["network"] as? [[String: Any]], "\(vm.status)")
        return Dictionary(uniqueKeysWithValues: try list.map { (try #require($0["interface"] as? String), $0) })
    }

    @Test("DHCP: an address, a route, a name server; a client that dies is started again")
    func dhcp() throws {
        // In the VM's PID namespace the client can be seen, and killed.
        let capabilities = ["CAP_KILL", "CAP_NET_RAW"]
        let live = try LiveVM(["sleep", "1000"], tether: network(["eth0": ["dhcp4": true]]), options: Self.user) { config, process in
            config["linux"] = ["namespaces": [["type": "mount"]]]
            process["capabilities"] = ["bounding": capabilities, "effective": capabilities, "permitted": capabilities]
        }
        let seen = try live.shell(
            "ip addr show eth0; ip addr show lo; ip route; cat /etc/resolv.conf; grep resolv /proc/mounts; ping -c 1 -W 5 10.0.2.2; ping -c 1 127.0.0.1"
        )
        #expect(seen.result.exitCode == 0, "\(seen.err)")
        for part in [
            "inet 10.0.2.15/24", "inet 127.0.0.1/8", "default via 10.0.2.2 dev eth0  metric 100", "nameserver 10.0.2.3",
            "/etc/resolv.conf tmpfs",
            "1 packets received",
        ] { #expect(seen.out.contains(part), "\(part): \(seen.out)") }
        let client = try live.shell("pidof udhcpc; cat /proc/$(pidof udhcpc)/status; tr '\\0' ' ' </proc/$(pidof udhcpc)/cmdline")
        for part in [
            "Uid:\t2147480002", "CapPrm:\t0000000000002400", "NoNewPrivs:\t1", "-i eth0", "-x hostname:box",
            "-x 0x3d:ff00123456000200001adc",
        ] {
            #expect(client.out.contains(part), "\(part): \(client.out)")
        }

        // Nothing of the container notices. The new client asks for the same address.
        let again = try live.shell(
            """
            before=$(pidof udhcpc); kill -KILL $before; i=0
            while [ $i -lt 100 ]; do now=$(pidof udhcpc); [ -n "$now" ] && [ "$now" != "$before" ] && break; sleep 0.1; i=$((i+1)); done
            sleep 5; tr '\\0' ' ' </proc/$(pidof udhcpc)/cmdline; ip addr show eth0; ip route
            """)
        for part in ["-r 10.0.2.15", "inet 10.0.2.15/24", "default via 10.0.2.2"] {
            #expect(again.out.contains(part), "\(part): \(again.out)")
        }

        let vm = try live.stop()
        #expect(vm.status["phase"] as? String == "exited")
        let adapter = try #require(try adapters(vm)["eth0"])
        #expect(adapter["addresses"] as? [String] == ["10.0.2.15/24"])
        #expect(adapter["gateway"] as? String == "10.0.2.2")
        #expect(adapter["nameservers"] as? [String] == ["10.0.2.3"])
        #expect(adapter["source"] as? String == "dhcp")
        let timings = try #require(vm.status["timings"] as? [String: Any])
        #expect(timings["network"] != nil, "\(timings)")
        for part in [
            "loaded modules vmxnet3", "eth0: 10.0.2.15/24, gateway 10.0.2.2", "dhcp eth0 ended with SIGKILL", "unicasting a release",
        ] {
            #expect(vm.console.contains(part), "\(part): \(vm.console.suffix(3000))")
        }
    }

    @Test("static addresses of both families, a new name, and an adapter that is not there and need not be")
    func fixed() throws {
        let lan: [String: Any] = [
            "match": ["macaddress": "52:54:00:12:34:56"], "set-name": "lan0", "mtu": 1400,
            "addresses": ["192.168.77.5/24", "2001:db8:77::5/64"],
            "routes": [["to": "default", "via": "192.168.77.1", "metric": 50], ["to": "2001:db8:99::/48", "via": "2001:db8:77::1"]],
            "nameservers": ["addresses": ["192.168.77.53", "2001:db8:77::53"], "search": ["a.example", "b.example"]],
        ]
        let script = """
            ip addr show lan0; ip route; ip -6 route; cat /etc/resolv.conf
            echo mine >/etc/resolv.conf && cat /etc/resolv.conf
            """
        let config = configuration(["sh", "-c", script]) { config, _ in
            config["tether"] = network([
                "lan": lan, "spare": ["match": ["macaddress": "52:54:00:00:00:01"], "dhcp4": true, "optional": true],
            ])
        }
        let vm = try VM.boot(config: config, options: Self.user)
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        for part in [
            "mtu 1400", "inet 192.168.77.5/24 brd 192.168.77.255", "inet6 2001:db8:77::5/64",
            "default via 192.168.77.1 dev lan0  metric 50",
            "2001:db8:99::/48 via 2001:db8:77::1 dev lan0",
            "search a.example b.example\nnameserver 192.168.77.53\nnameserver 2001:db8:77::53\n", "mine\n",
        ] { #expect(vm.out.contains(part), "\(part): \(vm.out) \(vm.err)") }
        // Nobody could bind to it before it is known to be nobody else's.
        #expect(!vm.out.contains("2001:db8:77::5/64 scope global tentative"), "\(vm.out)")
        let adapter = try #require(try adapters(vm)["lan0"])
        #expect(adapter["addresses"] as? [String] == ["192.168.77.5/24", "2001:db8:77::5/64"])
        #expect(adapter["gateway"] as? String == "192.168.77.1" && adapter["source"] as? String == "static")
        #expect(try adapters(vm).count == 1)
    }

    @Test("an optional adapter's lease comes when the container runs, and so do its name servers; what else it has is left alone")
    func late() throws {
        let script = """
            cat /etc/resolv.conf; i=0
            while [ $i -lt 200 ] && ! grep -q 10.0.2.3 /etc/resolv.conf; do sleep 0.1; i=$((i+1)); done
            cat /etc/resolv.conf; ip route; ip addr show eth0; echo 'end of it'
            """
        let config = configuration(["sh", "-c", script]) { config, _ in
            config["tether"] = network(["eth0": ["dhcp4": true, "optional": true]])
        }
        let vm = try VM.boot(config: config, options: Self.user)
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        for part in ["nameserver 10.0.2.3\n", "default via 10.0.2.2 dev eth0  metric 100", "inet 10.0.2.15/24", "end of it"] {
            #expect(vm.out.contains(part), "\(part): \(vm.out) \(vm.err) \(vm.console.suffix(3000))")
        }
    }

    @Test("a network that cannot be had ends the start, and says why")
    func failures() throws {
        func boot(_ ethernets: [String: Any], _ options: [String]) throws -> VM {
            try VM.boot(config: configuration(["true"]) { config, _ in config["tether"] = network(ethernets) }, options: options)
        }
        try boot(["eth0": ["dhcp4": true]], Self.nowhere).expectFailure(
            125, phase: "network", says: ["dhcp", "eth0", "no lease within 30 s"])
        let far: [String: Any] = ["addresses": ["192.168.77.5/24"], "routes": [["to": "default", "via": "198.51.100.1"]]]
        try boot(["eth0": far], Self.user).expectFailure(
            125, phase: "network", says: ["add route", "default via 198.51.100.1 to eth0", "Nexthop has invalid gateway"])
    }

    @Test("a stop while the network is waited for")
    func stopped() throws {
        let scratch = try Scratch()
        let config = configuration(["true"]) { config, _ in config["tether"] = network(["eth5": ["dhcp4": true]]) }
        let arguments = try VM.arguments(scratch, rawConfig: JSONSerialization.data(withJSONObject: config), options: Self.user)
        let program = try RunningProgram(arguments)
        let began = Date()
        func console() -> String { (try? String(contentsOfFile: VM.kept(scratch) + "/console.log", encoding: .utf8)) ?? "" }
        while !console().contains("loaded modules vmxnet3"), Date().timeIntervalSince(began) < 120 { Thread.sleep(forTimeInterval: 0.1) }
        let asked = Date()
        program.process.terminate()
        let vm = try VM.collect(program.finish(), scratch)
        // And not after the 30 s that it would have waited.
        #expect(Date().timeIntervalSince(asked) < 25)
        vm.expectFailure(125, phase: "network", says: ["start", "stopped before it started"])
    }
}
