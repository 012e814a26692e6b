import Testing

@testable import VSPC

@Suite("vSPC: telnet") struct TelnetTests {
    private func decode(_ bytes: [UInt8], chunk: Int) -> [Telnet.Item] {
        var decoder = TelnetDecoder()
        var items: [Telnet.Item] = []
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            for item in decoder.decode(bytes[start..<min(bytes.count, start + chunk)]) {
                if case .data(let more) = item, case .data(let before)? = items.last {
                    items[items.count - 1] = .data(before + more)
                } else {
                    items.append(item)
                }
            }
        }
        return items
    }

    @Test("data, negotiations and subnegotiations are told apart, however they are cut", arguments: [1, 2, 3, 5, 1000])
    func items(_ chunk: Int) {
        let stream: [UInt8] =
            [1, 255, 255, 2, 255, 251, 0, 3, 255, 250, 232, 80, 255, 255, 65, 255, 240, 4, 255, 241, 5, 255, 254, 1, 255, 250, 7, 255, 240]
        #expect(
            decode(stream, chunk: chunk) == [
                .data([1, 255, 2]), .negotiation(.will, .binary), .data([3]), .subnegotiation(.vmware, [80, 255, 65]), .data([4, 5]),
                .negotiation(.dont, .echo), .subnegotiation(Telnet.Option(rawValue: 7), []),
            ])
    }

    @Test("a subnegotiation that does not end well is passed over, one too long as well, and what follows is understood")
    func malformed() {
        #expect(decode([255, 250, 232, 1, 255, 241, 9], chunk: 1) == [.data([9])])
        #expect(decode([255, 250, 232, 1, 255, 250, 232, 2, 255, 240], chunk: 1) == [.subnegotiation(.vmware, [2])])
        #expect(decode([255, 250, 232, 1, 255, 251, 3, 8], chunk: 1) == [.negotiation(.will, .suppressGoAhead), .data([8])])
        let most = [UInt8](repeating: 1, count: TelnetDecoder.maximumParameters)
        #expect(decode([255, 250, 232] + most + [255, 240, 9], chunk: 100) == [.subnegotiation(.vmware, most), .data([9])])
        #expect(decode([255, 250, 232] + most + [1, 255, 240, 9], chunk: 100) == [.data([9])])
    }

    @Test("every byte passes two ends, in both directions")
    func transparency() {
        var client = TelnetLine.client()
        var server = ProxySession()
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) } + [255, 255, 255, 13, 0, 13, 10]
        client.send(bytes[...])
        server.send(bytes[...])
        var (atClient, atServer): ([UInt8], [UInt8]) = ([], [])
        for _ in 0..<4 {
            for case .data(let data) in server.receive(client.takeOutput()[...]) { atServer += data }
            atClient += client.receive(server.takeOutput()[...])
        }
        #expect(atClient == bytes && atServer == bytes)
        #expect(client.pendingOutput == 0 && server.pendingOutput == 0)
    }

    @Test("options are answered once, unknown ones refused; two ends come to rest")
    func negotiation() {
        var line = ProxySession()
        #expect(
            line.takeOutput() == [255, 253, 0, 255, 253, 3, 255, 253, 232, 255, 251, 0, 255, 251, 3],
            "DO BINARY, SGA and the extension; WILL BINARY and SGA")
        // WILL BINARY answers a DO: nothing is to be said. DO ECHO and WILL 37 are refused.
        _ = line.receive([255, 251, 0, 255, 253, 1, 255, 251, 37])
        #expect(line.takeOutput() == [255, 252, 1, 255, 254, 37])
        for _ in 0..<100 { _ = line.receive([255, 251, 0, 255, 253, 1, 255, 251, 37, 255, 253, 0, 255, 252, 3]) }
        #expect(line.pendingOutput == 0)
        #expect(line.receive([255, 252, 232]) == [.extensionRefused])
    }
}
