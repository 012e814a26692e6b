import ArgumentParser
import LineEndpoint
import Linux

struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy", abstract: "Carry an SSH connection over a VM's serial line.",
        discussion: """
            Begins a connection on the line and passes bytes between it and standard input and output, so that OpenSSH can use it:

                ssh -o ProxyCommand='tetherctl proxy /path/to/attach.sock' container
            """)

    @OptionGroup var line: LineOptions
    @Option(help: ArgumentHelp("How long to wait for the VM to answer. 0: for ever.", valueName: "seconds"))
    var timeout: UInt32 = 120

    func run() throws {
        Terminations.ignoreBrokenPipes()
        do throws(EndpointError) {
            let endpoint = try line.parse()
            // Of all lines a terminal alone is to be left as it was found.
            if case .terminal = endpoint {
                do throws(SyscallError) { try Terminations.watchSignals() } catch {
                    throw EndpointError(error.operation, error.object, error.errno.description)
                }
            }
            Terminations.ignoreHangUps()
            try carry(endpoint)
            Terminations.endIfSignalled()
        } catch {
            Terminations.endIfSignalled()
            StandardErrorLogHandler.say(error)
            throw ExitCode(255)
        }
    }

    private func carry(_ endpoint: Endpoint) throws(EndpointError) {
        let connection = try LineConnection(to: endpoint)
        let early = try connection.synchronise(
            milliseconds: timeout == 0 ? nil : Int64(timeout) * 1000, watching: 1,
            isOver: { Terminations.isReaderGone(1) || Terminations.isSignalled })
        guard let early else { return }
        var proxy = LineProxy(connection, input: 0, output: 1, stop: Terminations.signals)
        try proxy.run(early: early)
    }
}
