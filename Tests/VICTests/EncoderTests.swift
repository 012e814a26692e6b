import ContainerSpec
import Testing
import VIC

@Suite("Writing VIC's keys")
struct EncoderTests {
    @Test("what is written is read as it was, whatever can be expressed", arguments: [1, 20_261_124] as [UInt64])
    func identity(seed: UInt64) throws {
        var random = RandomConfig(seed: seed)
        for _ in 0..<400 {
            let config = random.next()
            let keys = try config.keyValues()
            let store = KeyStore(keys)
            #expect(store.values.count == keys.count, "no two values have the same key")
            let reading = try #require(try store.read(.all))
            try #require(reading.config == config)
            #expect(reading.warnings.isEmpty)
            // A key that nobody asked for would be one that no guest reads.
            #expect(Set(store.asked.map { $0.lowercased() }).isSuperset(of: store.values.keys))
        }
    }

    @Test("the keys have VIC's names")
    func names() throws {
        var config = VICExecutorConfig()
        config.id = "c1"
        var session = VICSession()
        session.key = "c1"
        session.args = ["sh", "-c", ""]
        config.sessions = [session]
        session.key = "e1"
        config.execs = [session]
        var endpoint = VICNetworkEndpoint()
        endpoint.key = "my.net"
        endpoint.assigned.ip = VICAddress([10, 0, 0, 5])
        endpoint.network.assignedNameservers = [VICAddress([10, 0, 0, 2])]
        config.networks = [endpoint]
        let store = KeyStore(try config.keyValues())
        for (key, value) in [
            ("guestinfo.vice./sessions", "c1"), ("guestinfo.vice./sessions|c1/cmd/Args", "2"),
            ("guestinfo.vice./sessions|c1/cmd/Args~", "sh|-c|"), ("guestinfo.vice./sessions|c1/User", "<nil>"),
            ("guestinfo.vice..sessions|c1.detail.stoptime", "0"), ("guestinfo.vice..sessions|c1.diagnostics.resurrections", "0"),
            ("guestinfo.vice./execs@non-persistent", "e1"), ("guestinfo.vice./execs|e1/cmd/Args~@non-persistent", "sh|-c|"),
            ("guestinfo.vice..execs|e1.started@non-persistent", "<nil>"), ("guestinfo.vice./networks", "my.net"),
            ("guestinfo.vice./networks|my/net/Common/id", "<nil>"), ("guestinfo.vice..networks|my.net.assigned.IP", "CgAABQ=="),
            ("guestinfo.vice..networks|my.net.network.assigned.dns", "0"),
            ("guestinfo.vice..networks|my.net.network.assigned.dns|0", "CgAAAg=="),
            ("guestinfo.vice./networks|my/net/network/TrustLevel", "0"),
        ] {
            #expect(store[key] == value, "\(key)")
        }
        #expect(store["guestinfo.vice./sessions|c1/cmd/Env"] == nil && store["guestinfo.vice./mounts"] == nil)
    }

    @Test("what the keys cannot express is refused")
    func refusals() throws {
        func problems(_ change: (inout VICExecutorConfig) -> Void) -> [String] {
            var config = VICExecutorConfig()
            config.id = "c1"
            var session = VICSession()
            session.key = "c1"
            config.sessions = [session]
            change(&config)
            do throws(SpecError) {
                _ = try config.keyValues()
                return []
            } catch {
                return error.issues.map { $0.path }
            }
        }
        #expect(problems { _ in }.isEmpty)
        #expect(problems { $0.sessions[0].args = ["a|b"] } == ["guestinfo.vice./sessions|c1/cmd/Args~"])
        #expect(problems { $0.hostname = "<nil>" } == ["guestinfo.vice./hostname"])
        #expect(problems { $0.hostname = "a\0" } == ["guestinfo.vice./hostname"])
        #expect(problems { $0.sessions[0].key = "a@b" } == ["guestinfo.vice./sessions"])
        #expect(problems { $0.sessions.append($0.sessions[0]) }.first == "guestinfo.vice./sessions|c1/common/id")
        #expect(
            problems {
                let first = $0.sessions[0]
                $0.sessions.append(first)
                $0.sessions[0].key = "a.b"
                $0.sessions[1].key = "A/B"
            }.contains("guestinfo.vice./sessions|a/b/common/id"))
        #expect(
            problems {
                var endpoint = VICNetworkEndpoint()
                endpoint.key = "n"
                endpoint.ip = VICAddressRange()
                endpoint.network.gateway.ip = VICAddress([1, 2, 3])
                $0.networks = [endpoint]
            } == ["guestinfo.vice./networks|n/ip", "guestinfo.vice./networks|n/network/gateway/IP"])
    }
}
