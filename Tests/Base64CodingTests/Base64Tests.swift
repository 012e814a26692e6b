import Base64Coding
import Testing

@Suite struct Base64Tests {
    /// RFC 4648, section 10.
    @Test(
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, coded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == coded)
        #expect(Base64.decode(coded.utf8) == Array(plain.utf8))
    }

    @Test func paddingMayBeLeftOut() { #expect(Base64.encode([0xff], padding: false) == "/w") }

    @Test func whiteSpaceIsSkipped() { #expect(Base64.decode(" Zm9v\r\n Yg==\n".utf8) == Array("foob".utf8)) }

    @Test(arguments: ["Z", "Zg", "Zg=", "Zg==Zg==", "Zm9v*", "Zm9v\u{0}", "=", "Zm-_"])
    func whatIsNoneIsRefused(text: String) { #expect(Base64.decode(text.utf8) == nil) }

    @Test func everyLengthComesBack() {
        for count in 0...300 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
            #expect(Base64.decode(Base64.encode(bytes).utf8) == bytes)
        }
    }
}
