import ContainerSpec
import Glibc
import Testing

@Suite("Addresses as text") struct IPAddressTests {
    /// What the C library makes of a text; nil if it is no address.
    private func libc(_ text: String) -> [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, text, &bytes) == 1 { return bytes }
        }
        return nil
    }

    @Test(
        "read as inet_pton(3) reads them",
        arguments: [
            "0.0.0.0", "10.1.2.255", "255.255.255.255", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1..3.4", "1.2.3.4 ", "0x1.2.3.4", "", ".",
            "a.b.c.d",
            "::", "::1", "1::", "2001:db8::7", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4::5:6:7:8", "1::2::3", ":::", "1:::2", ":1", "1:", "12345::", "g::", "::ffff:10.0.0.1", "::10.0.0.1",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "1:1.2.3.4::", "::1.2.3", "::1.2.3.400", "FE80::aBcD", "::%eth0", "1::2.3",
        ])
    func read(_ text: String) { #expect(IPAddress(text)?.bytes == libc(text), "\(text)") }

    @Test("an octal part is none, whoever reads it otherwise") func octal() {
        #expect(IPAddress("010.0.0.1") == nil && IPAddress("::010.0.0.1") == nil && IPAddress("10.0.0.00") == nil)
    }

    @Test("written as RFC 5952 has it, and read again")
    func written() throws {
        for (given, text) in [
            ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("0:0:0:0:0:0:0:0", "::"),
            ("1:0:0:0:0:0:0:0", "1::"), ("0:0:1:0:0:0:0:0", "0:0:1::"), ("ABCD::", "abcd::"), ("10.0.0.1", "10.0.0.1"),
        ] {
            #expect(try #require(IPAddress(given)).text == text)
        }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let bytes = (0..<16).map { _ in
                UInt8.random(in: 0...2, using: &generator) == 0 ? UInt8.random(in: 0...255, using: &generator) : 0
            }
            let address = try #require(IPAddress(bytes: bytes))
            #expect(IPAddress(address.text) == address && libc(address.text) == bytes, "\(address.text)")
        }
    }

    @Test("prefixes, masks and networks")
    func prefixes() throws {
        let prefix = try #require(IPPrefix("192.0.2.77/27"))
        #expect(prefix.text == "192.0.2.77/27" && prefix.mask == [255, 255, 255, 224] && prefix.network.text == "192.0.2.64/27")
        #expect(IPPrefix("10.1.2.3/0")?.network.text == "0.0.0.0/0" && IPPrefix("10.1.2.3/32")?.mask == [255, 255, 255, 255])
        #expect(IPPrefix("2001:db8:ffff::1/33")?.network.text == "2001:db8:8000::/33")
        for text in [
            "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/08", "10.0.0.1/1/2", "/8", "::/129", "10.0.0.1/+8", "::1/ 8",
        ] {
            #expect(IPPrefix(text) == nil, "\(text)")
        }
    }
}
