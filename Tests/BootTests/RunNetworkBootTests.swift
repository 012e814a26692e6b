import CLinux
import Foundation
import Testing

/// `tetherctl run --network`.
@Suite("Boot: networks of tetherctl run", .serialized) struct RunNetworkBootTests {
    /// A port of this machine that nothing listened on a moment ago, and that is none of those that the kernel gives to whoever connects
    /// (/proc/sys/net/ipv4/ip_local_port_range begins at 32768).
    private func freePort() throws -> UInt16 {
        for _ in 0..<1000 {
            let port = UInt16.random(in: 20_000..<32_000)
            if try isFree(port) { return port }
        }
        throw LiveVMError(description: "no port is free")
    }

    private func isFree(_ port: UInt16) throws -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: pointer), socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    @Test("a command has the networks that it is given, the first is its way out, and a published port leads to it")
    func command() throws {
        let script = """
            ip -4 addr; ip route; cat /etc/resolv.conf
            echo to the outside >/tmp/answer; echo ready
            nc -l -p 80 </tmp/answer
            """
        var answer = ""
        func boot() throws -> VM {
            let port = try freePort()
            let options = ["--network", "user", "--network", "user", "--publish", "\(port):80"]
            return try VM.boot(options: options, command: ["sh", "-c", script]) { process, output in
                func hasPrinted() -> Bool { (try? String(contentsOfFile: output, encoding: .utf8))?.contains("ready") ?? false }
                let deadline = Date(timeIntervalSinceNow: 120)
                while !hasPrinted(), process.isRunning, Date() < deadline { usleep(100_000) }
                // nc listens a little later than the shell says so: until then QEMU's side closes the connection.
                while answer.isEmpty, process.isRunning, Date() < deadline {
                    let talk = "exec 3<>/dev/tcp/127.0.0.1/\(port) && echo from outside >&3 && timeout 5 head -n 1 <&3"
                    answer = try run(["bash", "-c", talk]).text
                    usleep(200_000)
                }
            }
        }
        var vm = try boot()
        // Somebody had the port first after all.
        if vm.finished.errorText.contains("host forwarding") { vm = try boot() }
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(answer == "to the outside\n")
        for part in ["inet 10.0.2.15/24", "inet 10.0.3.15/24", "default via 10.0.2.2 dev eth0", "nameserver 10.0.2.3", "from outside"] {
            #expect(vm.out.contains(part), "\(part): \(vm.out)")
        }
        let adapters = vm.status["network"] as? [[String: Any]] ?? []
        #expect(adapters.map { $0["interface"] as? String } == ["eth0", "eth1"], "\(vm.status)")
    }

    @Test("with VIC's keys the adapter is in the slot that they say, behind a bridge of both boards", arguments: ["q35", "pc"])
    func vic(board: String) throws {
        let options = ["--vic", "--machine", board, "--network", "user"]
        let vm = try VM.boot(
            options: options, command: ["sh", "-c", "ls -l /sys/class/net/eth0; ip -4 addr show eth0; tail -n 1 /etc/hosts"])
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out.contains("/0000:00:16.0/0000:0") && vm.out.contains("inet 10.0.2.15/24"), "\(vm.out)")
        #expect(vm.out.hasSuffix("10.0.2.15\tuser0.localhost\n"), "\(vm.out)")
        #expect(vm.status["notHonoured"] == nil, "\(vm.status)")
    }
}
