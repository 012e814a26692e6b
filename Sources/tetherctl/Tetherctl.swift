import ArgumentParser
import Foundation

/// `tetherctl`: the host-side tool.
@main
struct Tetherctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tetherctl", abstract: "Run, watch and debug container VMs.",
        subcommands: [
            RunCommand.self, AttachCommand.self, ExecCommand.self, PsCommand.self, StopCommand.self, SignalCommand.self, StatsCommand.self,
            PauseCommand.self, ResumeCommand.self, ReloadCommand.self, ProxyCommand.self, ServeCommand.self, ReplayCommand.self,
            ConfigCommand.self, ImageCommand.self, VICCommand.self,
        ])

    static func main() {
        // Of a caller that closed one of these (`>&-`), a file or a socket of ours would get its number and the output.
        var descriptor: Int32
        repeat { descriptor = open("/dev/null", O_RDWR) } while descriptor >= 0 && descriptor <= 2
        if descriptor > 2 { close(descriptor) }
        main(nil)
    }
}
