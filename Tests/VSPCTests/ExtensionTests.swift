import Testing

@testable import VSPC

@Suite("vSPC: VMware's extension") struct ExtensionTests {
    /// Carries bytes between the two ends until nothing is left.
    private func exchange(_ machine: inout MachineSession, _ proxy: inout ProxySession) -> (
        machine: [MachineSession.Event], proxy: [ProxySession.Event]
    ) {
        var (atMachine, atProxy): ([MachineSession.Event], [ProxySession.Event]) = ([], [])
        while true {
            let toProxy = machine.takeOutput()
            let toMachine = proxy.takeOutput()
            if toProxy.isEmpty && toMachine.isEmpty { return (atMachine, atProxy) }
            atProxy += proxy.receive(toProxy[...])
            atMachine += machine.receive(toMachine[...])
        }
    }

    @Test("a VM says who it is and what it wants, by the bytes that ESX and the paper have")
    func identity() {
        var proxy = ProxySession()
        _ = proxy.takeOutput()
        #expect(proxy.receive([255, 251, 232, 255, 250, 232, 0, 0, 1, 2, 3, 40, 80, 81, 255, 240]) == [])
        let answer = proxy.takeOutput()
        #expect(answer.starts(with: [255, 250, 232, 1]) && answer.suffix(6) == [255, 250, 232, 81, 255, 240])
        let uuid = Array("56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e".utf8)
        #expect(proxy.receive([255, 250, 232, 80] + uuid + [255, 240]) == [.uuid("564d010203040506-0708090a0b0c0d0e")])
        #expect(
            proxy.receive([255, 250, 232, 70, UInt8(ascii: "S")] + Array("telnet://example.com".utf8) + [255, 240])
                == [.proxyWanted(direction: UInt8(ascii: "S"), uri: "telnet://example.com")])
        proxy.grantProxy(true)
        #expect(proxy.takeOutput() == [255, 250, 232, 71, 255, 240])
        proxy.grantProxy(false)
        #expect(proxy.takeOutput() == [255, 250, 232, 73, 255, 240])
    }

    @Test("the model of a VM and the proxy understand each other")
    func model() {
        var machine = MachineSession(uuid: "564d 01", name: "web 1", uri: "tether")
        var proxy = ProxySession()
        let first = exchange(&machine, &proxy)
        #expect(first.proxy == [.proxyWanted(direction: UInt8(ascii: "S"), uri: "tether"), .uuid("564d01"), .name("web 1")])
        proxy.grantProxy(true)
        machine.send([255, 1])
        proxy.send([2, 255])
        let second = exchange(&machine, &proxy)
        #expect(second.proxy == [.data([255, 1])] && second.machine == [.proxyGranted(true), .data([2, 255])])
    }

    @Test("a move: begin, go ahead behind all data, peer, complete; and its refusal and abort")
    func move() throws {
        var (source, proxy) = (MachineSession(uuid: "a", name: "b"), ProxySession())
        _ = exchange(&source, &proxy)
        let sequence: [UInt8] = [1, 2, 255, 4]
        source.beginMove(sequence)
        #expect(exchange(&source, &proxy).proxy == [.moveBegins(sequence: sequence)])
        let secret = [UInt8](repeating: 255, count: SecretLength.bytes)
        proxy.send([7, 7])
        proxy.letMove(sequence, secret: secret)
        let events = exchange(&source, &proxy).machine
        #expect(events == [.data([7, 7]), .moveMayBegin(identity: sequence + secret)])

        var (target, peer) = (MachineSession(uuid: "a", name: "b", identity: sequence + secret), ProxySession())
        #expect(exchange(&target, &peer).proxy.first == .moved(identity: sequence + secret))
        peer.acceptMoved(sequence + secret)
        #expect(exchange(&target, &peer).machine == [.movedAccepted])
        target.completeMove(sequence)
        #expect(exchange(&target, &peer).proxy == [.moveComplete(sequence: sequence)])

        source.abortMove(sequence)
        #expect(exchange(&source, &proxy).proxy == [.moveAborted(sequence: sequence)])
        proxy.refuseMove(sequence)
        #expect(exchange(&source, &proxy).machine == [.moveMustWait])
    }

    @Test("what is not known is answered as such, and what is malformed is passed over")
    func unknown() {
        var proxy = ProxySession()
        _ = proxy.takeOutput()
        #expect(proxy.receive([255, 250, 232, 99, 1, 2, 255, 240]) == [])
        #expect(proxy.takeOutput() == [255, 250, 232, 3, 99, 255, 240])
        let malformed: [[UInt8]] = [
            [], [40], [40] + [UInt8](repeating: 1, count: 65), [44], [70], [2], [2, 1, 1], [81, 1],
            [80] + [UInt8](repeating: 65, count: 1025),
        ]
        for parameters in malformed {
            #expect(proxy.receive([255, 250, 232] + parameters + [255, 240]) == [], "\(parameters)")
            #expect(proxy.takeOutput() == [], "\(parameters)")
        }
        // Names are other people's text.
        #expect(proxy.receive([255, 250, 232, 82, 27, 91, 65, 10, 255, 240]) == [.name("\u{FFFD}[A\u{FFFD}")])
    }

    @Test("a message that is written is read as the same")
    func roundTrip() {
        let messages: [ExtensionMessage] = [
            .knownByMachine([1, 2]), .knownByProxy([]), .unknownToMachine(9), .unknownToProxy(9), .moveBegins(sequence: [1]),
            .moveMayBegin(sequence: [1], secret: [UInt8](repeating: 2, count: SecretLength.bytes)), .moveMustWait(sequence: [1]),
            .moved(identity: [1, 2]), .movedAccepted(identity: [3]), .moveComplete(sequence: [1]), .moveAborted(sequence: []),
            .proxyWanted(direction: 67, uri: "x"), .proxyGranted, .proxyRefused, .uuid("a-b"), .whichUUID, .name("n"), .whichName,
        ]
        for message in messages { #expect(ExtensionMessage(message.parameters) == message) }
    }
}
