import Foundation
import Testing

/// Clients that are neither ours nor OpenSSH's, each with a program of its own that checks what it gets.
@Suite(.serialized) struct OtherClientTests {
    private let bed: InteropBed
    private let interop = "\(InteropBed.checkout)/build/interop"

    init() throws {
        bed = try InteropBed()
        try #require(FileManager.default.fileExists(atPath: interop), "make build/interop fetches and builds the clients")
    }

    @Test func asyncSSH() throws {
        try bed.write("exec \(try bed.bed("--compression"))\n", to: "bed")
        let client = "\(InteropBed.checkout)/Tests/SSHTests/asyncssh/client.py"
        let outcome = try bed.sh("\(interop)/python/bin/python \(client) \(bed.directory) 'bash \(bed.path("bed"))'", seconds: 300)
        #expect(outcome.status == 0, "\(outcome.text) \(outcome.errors)")
        #expect(
            outcome.text == """
                84 combinations of algorithms
                3 keys in, 3 refused
                statuses, signals, variables, half-close, 20 sessions at once
                terminal, its size
                64 MiB both ways, compression none
                64 MiB both ways, compression zlib@openssh.com
                refusals
                keepalives

                """)
    }

    /// golang.org/x/crypto/ssh, in VIC's dialect first.
    @Test func goAndVIC() throws {
        let sessions = """
            --attach 'c0ffee=cat; echo on stderr >&2' \
            --attach "beef=trap 'echo caught; exit' TERM; echo ready; while sleep 0.05; do :; done"
            """
        try bed.write("exec \(try bed.bed("--open-user daemon")) \(sessions)\n", to: "bed")
        let outcome = try bed.sh("\(interop)/vic-client \(bed.directory) 'bash \(bed.path("bed"))'", seconds: 300)
        #expect(outcome.status == 0, "\(outcome.text) \(outcome.errors)")
        #expect(
            outcome.text == """
                VIC: ids, version, refusals, ping, window-change, unblock, streams, close-stdin, signal
                3 keys in, 3 refused
                120 combinations of algorithms

                """)
        let log = try bed.read("log")
        #expect(log.contains("authenticated daemon none -") && log.contains("reply true"))
    }
}
