import CLinux
import LineEndpoint
import Linux
import Testing
import VSPC

@Suite("Concentrator: lending lines", .serialized) struct LendingTests {
    @Test("a VM is listed by what it says of itself, and its line carries every byte both ways")
    func lend() throws {
        let server = try Server()
        let host = try Host(server, uuid: "564d 0102-03", name: "web 1")
        try host.wait("the grant") { host.events.contains(.proxyGranted(true)) }
        try server.wait("the VM's name") { _ in
            try? host.step()
            return ((try? server.list()) ?? []).first?["name"] as? String == "web 1"
        }
        let line = try #require(try server.list().first)
        #expect(line["uuid"] as? String == "564d0102-03" && line["uri"] as? String == "tether" && line["lent"] as? Bool == false)

        // What comes while nobody has the line is counted and forgotten.
        host.send(Array("boot messages".utf8))
        try host.step()
        try server.wait("dropped bytes") { $0.first?["dropped"] as? Int == 13 }

        let borrower = try Borrower(server, "564D010203")
        let (down, up) = (noise(1 << 20, seed: 1), noise(1 << 20, seed: 2))
        host.send(down)
        borrower.send(up)
        try run([host], [borrower], "a megabyte each way") { borrower.data.count >= down.count && host.data.count >= up.count }
        expectSame(borrower.data, down)
        expectSame(host.data, up)
        let after = try #require(try server.list().first)
        #expect(after["lent"] as? Bool == true && after["received"] as? Int == 13 + down.count && after["sent"] as? Int == up.count)
    }

    @Test("a client that died while its VM does not read gives the line to the next one")
    func deadBorrower() throws {
        let server = try Server()
        let host = try Host(server, uuid: "a1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["uuid"] as? String == "a1"
        }
        // The VM's socket, the queue for it and the client's socket are full.
        let dead = try Borrower(server, "a1")
        dead.send(noise(24 << 20, seed: 1))
        for _ in 0..<200 { try dead.step(milliseconds: 1) }
        #expect(dead.line.pendingOutput > 0)
        #expect(throws: EndpointError.self) { try Borrower(server, "a1") }
        dead.line.close()
        let next = try Borrower(server, "a1")
        host.send([7])
        try run([host], [next], "a byte") { next.data == [7] }
    }

    @Test("one client has a line, by name, UUID, URI or address; the next one gets it when it is given back")
    func oneAtATime() throws {
        let server = try Server()
        let host = try Host(server, uuid: "a1", name: "web", uri: "port1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["name"] as? String == "web"
        }
        let address = try #require(try server.list().first?["address"] as? String)
        var first: Borrower? = try Borrower(server, "web")
        #expect(first?.isClosed == false)
        for name in ["web", "a1", "port1", address] {
            let error = #expect(throws: EndpointError.self) { try Borrower(server, name) }
            #expect(error?.cause == "another client has the line")
        }
        for name in ["we", "", "a", "web\nlist"] { #expect(throws: EndpointError.self, "\(name)") { try Borrower(server, name) } }
        first = nil
        try server.wait("the line") { $0.first?["lent"] as? Bool == false }
        for name in ["a1", "port1", address] {
            let again = try Borrower(server, name)
            host.send([1, 2, 3])
            try run([host], [again], "three bytes by \(name)") { again.data == [1, 2, 3] }
            again.line.close()
            try server.wait("the line") { $0.first?["lent"] as? Bool == false }
        }
    }

    @Test("two VMs of one name are told apart by address")
    func ambiguous() throws {
        let server = try Server()
        let hosts = [try Host(server, uuid: "1", uri: "a"), try Host(server, uuid: "2", uri: "b")]
        try server.wait("both") { lines in
            for host in hosts { try? host.step() }
            return lines.count == 2 && lines.allSatisfy { $0["name"] as? String == "web" }
        }
        let error = #expect(throws: EndpointError.self) { try Borrower(server, "web") }
        #expect(error?.cause.hasPrefix("2 lines have this name") == true)
        let addresses = try server.list().compactMap { $0["address"] as? String }
        let borrower = try Borrower(server, try #require(addresses.first))
        #expect(!borrower.isClosed)
    }

    @Test("a VM that goes away ends its borrower's connection, with all that it said; one that comes again takes its place")
    func disconnect() throws {
        let server = try Server()
        let host = try Host(server, uuid: "1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["uri"] as? String == "tether" && lines.first?["uuid"] as? String == "1"
        }
        let borrower = try Borrower(server, "1")
        let last = noise(500_000, seed: 3)
        host.send(last)
        try run([host], [], "the sending") { host.isSent }
        host.close()
        try run([], [borrower], "the end") { borrower.isClosed }
        expectSame(borrower.data, last)
        try server.wait("nothing") { $0.isEmpty }

        // A host that was cut off has not said so: its VM connects again from another one.
        let stale = try Host(server, uuid: "1")
        try server.wait("the VM") { lines in
            try? stale.step()
            return lines.first?["uuid"] as? String == "1"
        }
        let waiting = try Borrower(server, "1")
        let fresh = try Host(server, uuid: "1")
        try run([stale, fresh], [waiting], "the replacement") { waiting.isClosed && stale.isClosed }
        try server.wait("one line") { $0.count == 1 }
        let again = try Borrower(server, "1")
        fresh.send([9])
        try run([fresh], [again], "a byte") { again.data == [9] }
    }

    @Test("a client that does not read holds back its VM, and nothing is lost")
    func backPressure() throws {
        let server = try Server()
        let host = try Host(server, uuid: "1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["uuid"] as? String == "1"
        }
        let borrower = try Borrower(server, "1")
        let bytes = noise(16 << 20, seed: 5)
        host.send(bytes)
        let deadline = Deadline.after(milliseconds: 1500)
        while !deadline.hasPassed { try host.step() }
        #expect(!host.isSent, "16 MiB were taken although nobody reads them")
        try run([host], [borrower], "16 MiB") { borrower.data.count >= bytes.count }
        expectSame(borrower.data, bytes)
    }

    @Test("garbage from VMs and clients harms nobody else")
    func garbage() throws {
        let server = try Server()
        let host = try Host(server, uuid: "1")
        try server.wait("the VM") { lines in
            try? host.step()
            return lines.first?["uuid"] as? String == "1"
        }
        for seed in 0..<40 as Range<UInt64> {
            let machine = try LineConnection(to: .tcp(host: "127.0.0.1", port: server.port))
            // Much of it are telnet commands.
            machine.send(noise(20_000, seed: seed).map { $0 % 3 == 0 ? 255 : $0 % 5 == 0 ? 250 : $0 }[...])
            try? machine.flush()
            let client = try LineConnection(to: .socket(path: server.socket))
            client.send(noise(10_000, seed: seed)[...])
            try? client.flush()
            if seed % 2 == 0 { usleep(5000) }
        }
        let long = try LineConnection(to: .socket(path: server.socket))
        long.send([UInt8](repeating: 65, count: 5000)[...])
        try long.flush()
        var answer: [UInt8] = []
        let deadline = Deadline.after(milliseconds: 60_000)
        while !deadline.hasPassed {
            let reading = try long.read()
            if case .bytes(let bytes) = reading { answer += bytes }
            if reading == .closed { break }
            usleep(1000)
        }
        #expect(String(decoding: answer, as: UTF8.self) == "error the request is too long\n")
        let borrower = try Borrower(server, "1")
        host.send([7])
        try run([host], [borrower], "a byte") { borrower.data == [7] }
    }

    @Test("more VMs than are allowed are sent away")
    func limit() throws {
        let server = try Server(maximumLines: 3)
        let hosts = try (0..<5).map { try Host(server, uuid: "\($0)", name: "n\($0)") }
        try run(hosts, [], "two of five") { hosts.filter(\.isClosed).count == 2 }
        try server.wait("three") { $0.count == 3 }
    }
}
