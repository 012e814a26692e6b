import ArgumentParser

/// `tetherctl`: the host-side tool.
@main
struct Tetherctl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tetherctl", abstract: "Run, watch and debug container VMs.",
        subcommands: [RunCommand.self, ReplayCommand.self, ConfigCommand.self, ImageCommand.self])
}
