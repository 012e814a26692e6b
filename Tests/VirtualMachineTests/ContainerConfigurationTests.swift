import ContainerSpec
import FoundationEssentials
import GuestInfoHost
import Testing

@testable import VirtualMachine

@Suite struct ContainerConfigurationTests {
    @Test func makesAMinimalConfiguration() throws {
        let json = try ContainerConfiguration(arguments: ["/bin/echo", "a \"b\"", "ü", ""], terminal: "xterm").json()
        #expect(
            String(decoding: json, as: UTF8.self)
                == #"{"hostname":"container","ociVersion":"1.2.0","process":{"args":["/bin/echo","a \"b\"","ü",""],"#
                + #""cwd":"/","env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","TERM=xterm"],"#
                + #""user":{"gid":0,"uid":0}},"root":{"path":"rootfs","readonly":false}}"#)
    }

    @Test func adaptersAskDHCP() throws {
        let json = try ContainerConfiguration(arguments: ["a"], adapters: 2).json()
        #expect(
            String(decoding: json, as: UTF8.self).hasSuffix(
                #""tether":{"network":{"ethernets":{"eth0":{"dhcp4":true},"eth1":{"dhcp4":true}},"version":2}}}"#))
        #expect(try ContainerSpec.decode(json).tether.network?.interfaces.map(\.usesDHCP) == [true, true])
    }

    @Test func laterVariablesReplaceEarlierOnes() {
        let configuration = ContainerConfiguration(arguments: ["sh"], environment: ["A=1", "PATH=/x", "AB=2", "A=3"])
        #expect(configuration.process.env == ["PATH=/x", "AB=2", "A=3"])
    }

    @Test func readsUsers() {
        #expect(ContainerConfiguration.parseUser("1000").map { [$0.uid, $0.gid] } == [1000, 0])
        #expect(ContainerConfiguration.parseUser("1:2").map { [$0.uid, $0.gid] } == [1, 2])
        for bad in ["", "a", "1:", ":1", "1:2:3", "-1", "4294967296"] { #expect(ContainerConfiguration.parseUser(bad) == nil) }
    }

    @Test func longConfigurationsTravelCompressed() throws {
        let short = [UInt8](repeating: UInt8(ascii: " "), count: ConfigurationDelivery.plainLimit)
        #expect(try ConfigurationDelivery.variables(short) == ["guestinfo.tether.config": short])
        let long = short + [UInt8(ascii: " ")]
        let variables = try ConfigurationDelivery.variables(long)
        #expect(variables["guestinfo.tether.config.encoding"] == Array("gzip+base64".utf8))
        let value = try #require(variables["guestinfo.tether.config"])
        let packed = try #require(Data(base64Encoded: Data(value)))
        #expect(packed.prefix(2) == Data([0x1F, 0x8B]) && value.count < 1000)
        let base64 = try ConfigurationDelivery.variables(Array("{}".utf8), encoding: .base64)
        #expect(base64["guestinfo.tether.config"] == Array("e30=".utf8))
    }
}
