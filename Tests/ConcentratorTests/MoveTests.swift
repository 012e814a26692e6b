import LineEndpoint
import Linux
import Testing
import VSPC

/// vMotion: a VM's line goes on over another connection.
@Suite("Concentrator: moves", .serialized) struct MoveTests {
    private let sequence: [UInt8] = [0, 1, 255, 3]

    private func start(reserve: Int = 2 << 20) throws -> (server: Server, host: Host, borrower: Borrower) {
        let server = try Server(reserve: reserve)
        let host = try Host(server, uuid: "1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["uuid"] as? String == "1" && lines.first?["name"] as? String == "web"
        }
        return (server, host, try Borrower(server, "1"))
    }

    private func identity(_ host: Host) -> [UInt8]? {
        for case .moveMayBegin(let identity) in host.events { return identity }
        return nil
    }

    @Test("a move in the middle of transfers both ways loses and repeats nothing")
    func move() throws {
        let (server, source, borrower) = try start()
        let (down, up) = (noise(600_000, seed: 1), noise(600_000, seed: 2))
        borrower.send(Array(up.prefix(200_000)))
        source.send(Array(down.prefix(200_000)))
        try run([source], [borrower], "the first part") { source.data.count >= 100_000 }
        source.say { $0.beginMove(sequence) }
        borrower.send(Array(up.dropFirst(200_000)))
        try run([source], [borrower], "the go-ahead") { self.identity(source) != nil }
        let identity = try #require(self.identity(source))
        #expect(identity.starts(with: sequence) && identity.count == sequence.count + SecretLength.bytes)
        let before = source.data.count
        // What the VM still says while it is copied goes its old way.
        source.send(Array(down[200_000..<400_000]))
        for _ in 0..<50 {
            try source.step()
            try borrower.step()
        }
        #expect(source.data.count == before, "bytes for the VM must wait while it moves")
        try server.wait("the move in the list") { $0.first?["moving"] as? Bool == true }

        let target = try Host(server, uuid: "1", identity: identity)
        try run([source, target], [borrower], "the peer's acceptance") { target.events.contains(.movedAccepted) && source.isSent }
        target.say { $0.completeMove(sequence) }
        target.send(Array(down.dropFirst(400_000)))
        try run([target], [borrower], "the rest") {
            borrower.data.count >= down.count && source.data.count + target.data.count >= up.count
        }
        expectSame(borrower.data, down)
        expectSame(source.data + target.data, up)
        try run([source], [], "the old connection's end") { source.isClosed }
        try server.wait("one line, at rest") {
            $0.count == 1 && $0.first?["moving"] as? Bool == false && $0.first?["lent"] as? Bool == true
        }
    }

    @Test("a move ends though the client is slow, and all of it arrives")
    func slowClient() throws {
        let (server, source, borrower) = try start()
        let down = noise(5 << 20, seed: 3)
        source.say { $0.beginMove(sequence) }
        try run([source], [borrower], "the go-ahead") { self.identity(source) != nil }
        let identity = try #require(self.identity(source))
        // The client does not read while the old host sends, the new one comes, and the move is completed.
        source.send(down)
        let target = try Host(server, uuid: "1", identity: identity)
        try run([source, target], [], "the peer's acceptance") { target.events.contains(.movedAccepted) }
        target.say { $0.completeMove(sequence) }
        target.send([1, 2, 3])
        for _ in 0..<100 {
            try source.step(milliseconds: 1)
            try target.step(milliseconds: 1)
        }
        try run([source, target], [borrower], "all of it") { borrower.data.count >= down.count + 3 }
        expectSame(borrower.data, down + [1, 2, 3])
        borrower.send([9])
        try run([target], [borrower], "the byte") { target.data == [9] }
    }

    @Test("a move is announced behind more than a client that does not read has room for: it is answered in time, and all of it arrives")
    func announcedBehindData() throws {
        let (server, source, borrower) = try start()
        let down = noise(1 << 20, seed: 5)
        source.send(down)
        source.say { $0.beginMove(sequence) }
        // A host waits for five seconds. Nobody has taken a byte.
        try run([source], [], "the go-ahead") { self.identity(source) != nil }
        let identity = try #require(self.identity(source))
        let target = try Host(server, uuid: "1", identity: identity)
        try run([source, target], [], "the peer's acceptance") { target.events.contains(.movedAccepted) }
        target.say { $0.completeMove(sequence) }
        target.send([1, 2, 3])
        try run([source, target], [borrower], "all of it") { borrower.data.count >= down.count + 3 }
        expectSame(borrower.data, down + [1, 2, 3])
    }

    @Test("what is held for a client that does not read has an end")
    func reserve() throws {
        let (server, source, borrower) = try start(reserve: 400 << 10)
        let down = noise(8 << 20, seed: 6)
        source.send(down)
        func received() throws -> Int { try #require(try server.list().first?["received"] as? Int) }
        var (before, quiet) = (0, 0)
        let deadline = Deadline.after(milliseconds: 60_000)
        // Until it takes nothing any more for as long as ten looks need.
        while quiet < 10 {
            try #require(!deadline.hasPassed, "\(before) bytes, and still more")
            for _ in 0..<10 { try source.step(milliseconds: 10) }
            let now = try received()
            quiet = now == before ? quiet + 1 : 0
            before = now
        }
        // Beside what is held, the client's own socket has some.
        #expect(before >= 400 << 10 && before < 1 << 20, "\(before) bytes were taken for a client that takes none")
        try run([source], [borrower], "all of it") { borrower.data.count >= down.count }
        expectSame(borrower.data, down)
    }

    @Test("an aborted move leaves the line where it was, and what waited is delivered")
    func abort() throws {
        let (server, source, borrower) = try start()
        source.say { $0.beginMove(sequence) }
        try run([source], [borrower], "the go-ahead") { self.identity(source) != nil }
        let identity = try #require(self.identity(source))
        let target = try Host(server, uuid: "1", identity: identity)
        try run([source, target], [borrower], "the peer's acceptance") { target.events.contains(.movedAccepted) }
        borrower.send([1, 2, 3])
        for _ in 0..<20 { try source.step(); try borrower.step() }
        #expect(source.data.isEmpty)
        source.say { $0.abortMove(sequence) }
        try run([source, target], [borrower], "what waited") { source.data == [1, 2, 3] && target.isClosed }
        // The same once more, to the end.
        let count = source.events.count
        source.say { $0.beginMove([9]) }
        try run([source], [borrower], "a second go-ahead") { source.events.count > count }
        guard case .moveMayBegin(let second)? = source.events.last else { throw EndpointError("move", "", "no second go-ahead") }
        #expect(second.dropFirst(1) != identity.dropFirst(sequence.count), "secrets are not used twice")
        let other = try Host(server, uuid: "1", identity: second)
        try run([source, other], [borrower], "the second peer") { other.events.contains(.movedAccepted) }
        other.say { $0.completeMove([9]) }
        borrower.send([4])
        try run([other], [borrower], "the byte") { other.data == [4] }
    }

    @Test("the old host may close before the new one is there; a connection that does not know the secret gets nothing")
    func secret() throws {
        let (server, source, borrower) = try start()
        source.say { $0.beginMove(sequence) }
        try run([source], [borrower], "the go-ahead") { self.identity(source) != nil }
        let identity = try #require(self.identity(source))
        for wrong in [sequence, identity + [0], Array(identity.dropLast()), sequence + [UInt8](repeating: 0, count: SecretLength.bytes)] {
            let impostor = try Host(server, uuid: "1", identity: wrong)
            try run([source, impostor], [borrower], "the impostor's end") { impostor.isClosed }
        }
        source.close()
        borrower.send([5])
        let target = try Host(server, uuid: "1", identity: identity)
        try run([target], [borrower], "the acceptance") { target.events.contains(.movedAccepted) }
        // The move's secret is good once.
        let second = try Host(server, uuid: "1", identity: identity)
        try run([target, second], [borrower], "the second's end") { second.isClosed }
        target.say { $0.completeMove(sequence) }
        try run([target], [borrower], "the byte") { target.data == [5] }
        #expect(!borrower.isClosed)
    }

    @Test("a second move at once must wait")
    func twice() throws {
        let (_, source, borrower) = try start()
        source.say { $0.beginMove(sequence) }
        source.say { $0.beginMove([2]) }
        try run([source], [borrower], "both answers") { source.events.contains(.moveMustWait) && identity(source) != nil }
    }
}
