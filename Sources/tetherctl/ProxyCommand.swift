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
        Terminations.ignoreHangUps()
        do throws(EndpointError) {
            let connection = try LineConnection(to: try line.parse())
            let early = try connection.synchronise(
                milliseconds: timeout == 0 ? nil : Int64(timeout) * 1000, watching: 1, isOver: { Terminations.isReaderGone(1) })
            guard let early else { return }
            var proxy = LineProxy(connection, input: 0, output: 1)
            try proxy.run(early: early)
        } catch {
            StandardErrorLogHandler.say(error)
            throw ExitCode(255)
        }
    }
}
