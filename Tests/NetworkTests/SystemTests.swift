import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Network

/// A network namespace of its own, in a thread of its own: what else the tests do stays out of it.
func inNamespace(_ body: @escaping @Sendable () throws -> Void) throws {
    final class Outcome: @unchecked Sendable { var error: (any Error)? }
    let outcome = Outcome()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
        do {
            try attempt("unshare") { unshare(CLONE_NEWNET) }
            try body()
        } catch { outcome.error = error }
        done.signal()
    }
    thread.start()
    done.wait()
    if let error = outcome.error { throw error }
}

/// Runs a program of busybox in the thread's namespace, and gives what it wrote. Not by Foundation's Process: that does not learn of the
/// end in such a thread.
@discardableResult
func busybox(_ arguments: [String]) throws -> String {
    let program = try start(arguments)
    var text: [UInt8] = []
    while true {
        let byte = fgetc(program)
        if byte == EOF { break }
        text.append(UInt8(truncatingIfNeeded: byte))
    }
    let status = pclose(program)
    if status != 0 { throw NetworkError(arguments.joined(separator: " "), "status \(status)", String(decoding: text, as: UTF8.self)) }
    return String(decoding: text, as: UTF8.self)
}

/// - Parameter pidFile: gets its process id.
private func start(_ arguments: [String], pidFile: String = "/dev/null") throws -> UnsafeMutablePointer<FILE> {
    let program = popen("echo $$ >\(pidFile); exec busybox " + arguments.joined(separator: " ") + " 2>&1", "r")
    return try #require(program, "popen: \(Errno(rawValue: errno))")
}

private func wanted(_ id: String, _ match: InterfaceSettings.Match, _ change: (inout WantedInterface) throws -> Void) rethrows
    -> WantedInterface
{
    var wanted = WantedInterface(id: id, match: match)
    try change(&wanted)
    return wanted
}

func apply(_ wanted: [WantedInterface]) throws -> [InterfaceReport] {
    let reports = try reports(wanted)
    return wanted.compactMap { wanted in reports.last { $0.id == wanted.id } }
}

/// As they come.
private func reports(_ wanted: [WantedInterface]) throws -> [InterfaceReport] {
    var configurator = try Configurator()
    var reports: [InterfaceReport] = []
    configurator.apply(wanted) { reports.append($0) }
    return reports
}

/// What the kernel does of it. As root, in namespaces with a pair of interfaces that are each other's cable.
@Suite("Network: system", .serialized) struct SystemTests {
    @Test func interfacesBecomeAsTheyAreWanted() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            var configurator = try Configurator()
            try configurator.switchOnLoopback()
            let links = try configurator.links()
            #expect(links.first?.name == "lo" && links.first?.isUp == true)
            let pair = links.filter { $0.name.hasPrefix("veth") }
            try #require(pair.count == 2)
            try busybox(["ip", "link", "set", "veth1", "up"])

            var lan = try wanted("lan", .macAddress(pair[0].macAddress)) {
                $0.name = "lan0"
                $0.mtu = 1400
                $0.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("2001:db8::7/64")]
                $0.routes = [
                    Route(to: nil, via: try ipAddress("192.0.2.1"), metric: nil, origin: .configuration),
                    Route(to: try ipPrefix("198.51.100.0/24"), via: nil, metric: 7, origin: .dhcp),
                    Route(to: try ipPrefix("2001:db8:9::/48"), via: try ipAddress("2001:db8::1"), metric: nil, origin: .configuration),
                ]
            }
            let reports = try apply([
                lan, WantedInterface(id: "wan", match: .name("eth9")), WantedInterface(id: "twice", match: .name("veth0")),
            ])
            #expect(reports.map { $0.outcome } == [.done, .missing, .missing], "\(reports)")
            #expect(reports[0].link?.name == "lan0")
            let address = try busybox(["ip", "addr", "show", "dev", "lan0"])
            for part in ["mtu 1400", "UP", "inet 192.0.2.7/24 brd 192.0.2.255", "inet6 2001:db8::7/64"] {
                #expect(address.contains(part), "\(address)")
            }
            // By then it can be used.
            #expect(!address.contains("2001:db8::7/64 scope global tentative"))
            let routes = try busybox(["ip", "route"]) + (try busybox(["ip", "-6", "route"]))
            for part in [
                "default via 192.0.2.1 dev lan0", "198.51.100.0/24 dev lan0 scope link  metric 7",
                "2001:db8:9::/48 via 2001:db8::1 dev lan0",
            ] {
                #expect(routes.contains(part), "\(routes)")
            }
            #expect(try Files.readText("/proc/thread-self/net/dev").contains("lan0"))

            // Again the same is no error and no change; then something else.
            lan.present = InterfaceParts(addresses: lan.addresses, routes: lan.routes)
            lan.knownIndex = reports[0].link?.index
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try busybox(["ip", "addr", "show", "dev", "lan0"]) == address)
            lan.addresses = [try ipPrefix("192.0.2.8/24")]
            lan.routes = [Route(to: nil, via: try ipAddress("192.0.2.2"), metric: nil, origin: .configuration)]
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            let changed = try busybox(["ip", "addr", "show", "dev", "lan0"]) + (try busybox(["ip", "route"]))
            #expect(changed.contains("192.0.2.8/24") && changed.contains("default via 192.0.2.2"), "\(changed)")
            for part in ["192.0.2.7", "2001:db8::7", "198.51.100.0"] { #expect(!changed.contains(part), "\(changed)") }
        }
    }

    @Test func whatCannotBeDoneSaysWhy() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let far = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                $0.routes = [
                    Route(to: try ipPrefix("203.0.113.0/24"), via: nil, metric: nil, origin: .configuration),
                    Route(to: nil, via: try ipAddress("198.51.100.1"), metric: nil, origin: .configuration),
                ]
            }
            let reports = try apply([far, wanted("small", .name("veth1")) { $0.mtu = 60_000_000 }])
            #expect(
                reports[0].outcome
                    == .failed(
                        NetworkError(
                            "add route", "default via 198.51.100.1 to veth0", Errno(rawValue: ENETUNREACH), "Nexthop has invalid gateway")))
            #expect(reports[0].routesSet == [0] && reports[0].addressesSet == [0])
            guard case .failed(let error) = reports[1].outcome else { throw NetworkError("set MTU", "", "it is set") }
            #expect(error.operation == "set MTU" && error.object == "60000000 of veth1")

            // A route that another interface has is not taken from it, and not called ours.
            let both = try ["192.0.2.9/24", "192.0.2.10/24"].enumerated().map { position, text in
                try wanted("\(position)", .name("veth\(position)")) {
                    $0.addresses = [try ipPrefix(text)]
                    $0.routes = [Route(to: nil, via: try ipAddress("192.0.2.1"), metric: nil, origin: .configuration)]
                }
            }
            let second = try apply(both)
            #expect(second[0].outcome == .done)
            guard case .failed(let clash) = second[1].outcome else { throw NetworkError("add route", "", "twice") }
            #expect(clash.errno == .exists)
        }
    }

    @Test func whatALeaseAsksForInVainLeavesTheRest() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let lan = try wanted("lan", .name("veth0")) {
                $0.mtu = 60_000_000
                $0.isMTUOptional = true
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                $0.routes = try ["192.0.2.255", "192.0.2.1", "192.0.2.2"].map {
                    Route(to: nil, via: try ipAddress($0), metric: 100, origin: .dhcp)
                }
            }
            let report = try apply([lan])[0]
            #expect(report.outcome == .done && report.addressesSet == [0] && report.routesSet == [1], "\(report)")
            #expect(report.refused.count == 3)
            for (refused, part) in zip(report.refused, ["set MTU", "via 192.0.2.255", "via 192.0.2.2"]) {
                #expect(refused.contains(part), "\(report.refused)")
            }
            #expect(try busybox(["ip", "route"]).contains("default via 192.0.2.1 dev veth0  metric 100"))
        }
    }

    @Test func routesThatTheRestWorksWithoutLeaveIt() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let lan = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                // Of one whose gateway is elsewhere, and of the adapter's own network.
                $0.routes = try [
                    ("203.0.113.0/24", "198.51.100.1"), ("192.0.2.0/24", "192.0.2.1"), ("198.51.100.0/24", "192.0.2.1"),
                ].map {
                    var settings = RouteSettings(to: try ipPrefix($0), via: try ipAddress($1))
                    settings.isOptional = true
                    return Route(settings)
                }
            }
            let report = try apply([lan])[0]
            #expect(report.outcome == .done && report.addressesSet == [0] && report.routesSet == [2], "\(report)")
            let refused = ["203.0.113.0/24 via 198.51.100.1", "192.0.2.0/24 via 192.0.2.1"]
            #expect(report.refused.map { $0.prefix { $0 != ":" } } == refused.map { "add route \($0) to veth0" })
            #expect(try busybox(["ip", "route"]).contains("198.51.100.0/24 via 192.0.2.1 dev veth0"))
        }
    }

    @Test func noAdapterWaitsForTheAddressesOfAnother() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "add", "type", "veth"])
            // Without a cable the kernel finds nothing out.
            let slow = try wanted("slow", .name("veth0")) {
                $0.addresses = [try ipPrefix("2001:db8::7/64")]
                $0.routes = [Route(to: try ipPrefix("2001:db8:9::/48"), via: nil, metric: nil, origin: .configuration)]
            }
            try busybox(["ip", "link", "set", "veth3", "up"])
            let quick = try wanted("quick", .name("veth2")) { $0.addresses = [try ipPrefix("2001:db8:1::7/64")] }
            let plain = try wanted("plain", .name("veth1")) { $0.addresses = [try ipPrefix("192.0.2.7/24")] }
            try Files.write("0", to: "/proc/sys/net/ipv6/conf/veth2/accept_dad")
            var settled = plain
            settled.isSettled = true
            settled.addresses = [try ipPrefix("192.0.2.8/24")]
            let told = try reports([slow, quick, plain]).map { "\($0.id) \($0.outcome)" }
            #expect(told == ["slow begun", "quick begun", "plain done", "quick done", "slow done"])
            // Nothing is done to what is as it is to be, and nobody else gets it.
            let again = try reports([settled, WantedInterface(id: "other", match: .name("veth1"))])
            #expect(again.map { "\($0.id) \($0.outcome)" } == ["other missing"])
            #expect(try !busybox(["ip", "addr", "show", "dev", "veth1"]).contains("192.0.2.8"))
        }
    }

    @Test func aRouterThatAdvertisesKeepsNoRouteOut() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            for name in ["veth0", "veth1"] { try busybox(["ip", "link", "set", name, "up"]) }
            // As the kernel makes it of an advertisement (RFC 4861, section 6.3.4), which comes before the addresses are set.
            let advertised = Route(to: nil, via: try ipAddress("fe80::9"), metric: 1024, origin: .dhcp)
            let index = try #require(try Configurator.list().first { $0.name == "veth0" }?.index)
            var socket = try RouteSocket()
            _ = try socket.exchange(.addRoute(index: index, advertised), "add route", "as advertised")
            let lan = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("2001:db8::7/64")]
                $0.routes = [Route(to: nil, via: try ipAddress("2001:db8::1"), metric: nil, origin: .configuration)]
            }
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            let routes = try busybox(["ip", "-6", "route"])
            #expect(routes.contains("default via fe80::9") && routes.contains("default via 2001:db8::1"), "\(routes)")
        }
    }

    @Test func namesAreExchanged() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth0", "up"])
            let before = try Configurator.list()
            let reports = try apply([
                wanted("a", .name("veth0")) { $0.name = "veth1" }, wanted("b", .name("veth1")) { $0.name = "veth0" },
            ])
            #expect(reports.map { $0.outcome } == [.done, .done], "\(reports)")
            let after = try Configurator.list()
            for name in ["veth0", "veth1"] {
                let index = before.first { $0.name == name }?.index
                #expect(index != nil && after.first { $0.index == index }?.name == (name == "veth0" ? "veth1" : "veth0"))
            }
            // A name that is somebody else's.
            let taken = try apply([wanted("a", .name("veth0")) { $0.name = "lo" }])
            guard case .failed(let error) = taken[0].outcome else { throw NetworkError("rename", "", "it is lo now") }
            #expect(error.operation == "rename" && error.object == "veth0 to lo" && error.errno == .exists)
        }
    }

    @Test func anAddressThatAnotherMachineHasIsRefused() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try Files.write("0", to: "/proc/sys/net/ipv6/conf/veth1/accept_dad")
            try busybox(["ip", "link", "set", "veth1", "up"])
            try busybox(["ip", "addr", "add", "2001:db8::7/64", "dev", "veth1"])
            let reports = try apply([try wanted("lan", .name("veth0")) { $0.addresses = [try ipPrefix("2001:db8::7/64")] }])
            guard case .failed(let error) = reports[0].outcome else { throw NetworkError("add address", "", "two have it") }
            #expect(error.description == "add address 2001:db8::7/64 to veth0: another machine on the network has it")
        }
    }

    @Test func neighboursAreToldOfEachNewAddress() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth1", "up"])
            // ETH_P_ARP, as a packet socket wants it; it hears both ends of the cable.
            let ear = FileDescriptor(
                owning: try attempt("socket") {
                    socket(AF_PACKET, Int32(SOCK_DGRAM.rawValue) | O_NONBLOCK, Int32(UInt16(0x0806).bigEndian))
                })
            func heard() throws -> [String] {
                usleep(100_000)
                var addresses: Set<String> = []
                while let packet = try ear.read(atMost: 256) {
                    // An announcement asks for the address that it comes from.
                    let sender = packet.dropFirst(14).prefix(4)
                    guard packet.count >= 28, Array(sender) == Array(packet[24..<28]), let address = IPAddress(bytes: Array(sender)) else {
                        continue
                    }
                    addresses.insert(address.text)
                }
                return addresses.sorted()
            }
            var lan = try wanted("lan", .name("veth0")) { $0.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("192.0.2.8/24")] }
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try heard() == ["192.0.2.7", "192.0.2.8"])
            // A lease that changes: the one that was there before is known.
            lan.present = InterfaceParts(addresses: lan.addresses)
            lan.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("192.0.2.9/24")]
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try heard() == ["192.0.2.9"])
        }
    }

    @Test func newsOfInterfacesCome() throws {
        try inNamespace {
            let socket = try RouteSocket(.links)
            #expect(try socket.takeNews().answers.isEmpty)
            try busybox(["ip", "link", "add", "type", "veth"])
            let names = try socket.takeNews().answers.compactMap { if case .link(let link) = $0 { link.name } else { nil } }
            #expect(names.contains("veth0") && names.contains("veth1"))
            try busybox(["ip", "link", "del", "veth0"])
            #expect(try socket.takeNews().answers.contains { if case .linkGone = $0 { true } else { false } })
        }
    }

    @Test func theClientGetsALeaseWithTheFewestRights() throws {
        // The name decides what busybox does, and everything has to be where another user may go.
        let directory = "/tmp/tether-network-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        try FileManager.default.copyItem(atPath: root + "/build/udhcpc", toPath: directory + "/udhcpc")
        try FileManager.default.copyItem(atPath: root + "/build/tether-lease", toPath: directory + "/tether-lease")
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

            var ends: (Int32, Int32) = (-1, -1)
            try attempt("socketpair") {
                withUnsafeMutableBytes(of: &ends) {
                    socketpair(AF_UNIX, clinux_packet_socket, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self))
                }
            }
            let ours = FileDescriptor(owning: ends.0)
            let theirs = FileDescriptor(owning: ends.1)
            // As PID 1 has it: the client may not write to a file.
            let pipe = try Linux.Pipe().take()
            let reading = FileDescriptor(owning: pipe.read)
            let errors = FileDescriptor(owning: pipe.write)
            try reading.setNonBlocking()
            func said() -> String { String(decoding: (try? reading.read(atMost: 65_536)) ?? [], as: UTF8.self) }
            let words = [
                directory + "/udhcpc", "-f", "-R", "-i", "veth0", "-s", directory + "/tether-lease", "-t", "5", "-T", "1", "-A", "1", "-o",
                "-O", "subnet", "-O", "router", "-O", "dns", "-O", "domain", "-O", "search", "-O", "staticroutes", "-O", "mtu",
                "-x", "0x3d:ff00123456000200001adcaf63dc4c8601ec8c", "-x", "hostname:box",
            ]
            let text: [UInt8] = words.reduce(into: []) { $0 += Array($1.utf8) + [0] }
            let pid = try text.withUnsafeBytes { bytes in
                try attempt("start") {
                    clinux_start_dhcp_client(
                        bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(words.count), theirs.rawValue, errors.rawValue,
                        2_147_480_002)
                }
            }
            var hasEnded = false
            defer { if !hasEnded { kill(pid, SIGKILL) } }
            var events: [LeaseEvent] = []
            func next() throws -> LeaseEvent {
                var watched = pollfd(fd: ours.rawValue, events: Int16(POLLIN), revents: 0)
                try #require(poll(&watched, 1, 20_000) == 1, "\(said())")
                let event = try LeaseMessage.decode(try #require(try ours.read(atMost: LeaseMessage.limit + 1)))
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

            let status = try Files.readText("/proc/\(pid)/status")
            for line in [
                "Uid:\t2147480002\t2147480002\t2147480002\t2147480002", "CapEff:\t0000000000002400", "CapBnd:\t0000000000002400",
                "NoNewPrivs:\t1",
            ] {
                #expect(status.contains(line), "\(status)")
            }
            let mounts = try Files.readText("/proc/\(pid)/mountinfo")
            for path in [" /proc ", " /sys ", " /run "] { #expect(!mounts.contains(path), "\(mounts)") }
            // It is renewed, with the address in use.
            let reports = try apply([wanted("lan", .name("veth0")) { $0.addresses = [lease.address] }])
            #expect(reports.map { $0.outcome } == [.done])
            try attempt("kill") { kill(pid, SIGUSR1) }
            #expect(try next() == .lease(lease))
            // It gives the lease back when it is asked to end.
            try attempt("kill") { kill(pid, SIGTERM) }
            #expect(try next() == .none)
            var ended: Int32 = 0
            try attempt("waitpid") { waitpid(pid, &ended, 0) }
            hasEnded = true
            #expect(said().contains("unicasting a release"))
        }
    }
}

extension Configurator {
    fileprivate static func list() throws -> [Link] {
        var configurator = try Configurator()
        return try configurator.links()
    }
}
