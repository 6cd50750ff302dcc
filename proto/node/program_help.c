/* What a program says of itself, all from the rows of its table: help, completions, the manual. */
#include "proto/node/program_help.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

const struct wf_option wf_help_built_in[] = {
    {"log-level", WF_OPTION_TEXT, "LEVEL", "error, warn, info or debug"},
    {"log-format", WF_OPTION_TEXT, "FORM", "text or json"},
    {"help", WF_OPTION_FLAG, NULL, "show this"},
    {"version", WF_OPTION_FLAG, NULL, "show the version"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

const char *wf_help_variable(const char *option)
{
    static _Thread_local char name[80];
    size_t n = (size_t)snprintf(name, sizeof name, "WEFT_%s", option);
    for (size_t i = 5; i < n && i < sizeof name - 1; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    return name;
}

static void print_options(FILE *out, const struct wf_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s%s", options->name,
                 options->kind == WF_OPTION_FLAG ? "" : " ",
                 options->kind == WF_OPTION_FLAG ? "" : options->value,
                 options->kind == WF_OPTION_LIST ? "..." : "");
        fprintf(out, "  %-28s %s\n", left, options->help);
    }
}

static bool begins_with_words(const char *name, const char *words)
{
    size_t len = strlen(words);
    return strncmp(name, words, len) == 0 && (name[len] == ' ' || name[len] == 0 || len == 0);
}

/* A line of a table as a sentence. */
static void print_sentence(FILE *out, const char *text)
{
    size_t len = strlen(text);
    if (len != 0)
        fprintf(out, "%c%s%s\n", toupper((unsigned char)text[0]), text + 1,
                text[len - 1] == '.' ? "" : ".");
}

void wf_help_command(FILE *out, const struct wf_program *p, const struct wf_command *c)
{
    fprintf(out, "usage: %s%s%s%s%s\n\n", p->name, *c->name ? " " : "", c->name,
            *c->arguments ? " " : "", c->arguments);
    print_sentence(out, c->help);
    if (c->options != NULL && c->options->name != NULL) {
        fprintf(out, "\noptions (each is also a variable: --%s is %s)\n", c->options->name,
                wf_help_variable(c->options->name));
        print_options(out, c->options);
    }
    fputs("\ncommon options\n", out);
    print_options(out, p->options);
    print_options(out, wf_help_built_in);
    if (c->example != NULL)
        fprintf(out, "\nexample\n  %s\n", c->example);
}

/* What every program has besides its own rows. */
static const struct {
    const char *name, *arguments, *help, *example;
} tools[] = {
    {"completion", "bash|zsh|fish", "a completion script for a shell", "completion bash"},
    {"man", "", "the manual page, in man(7) form", "man"},
};
#define TOOLS (sizeof tools / sizeof *tools)

bool wf_help_tool(FILE *out, const struct wf_program *p, const char *name)
{
    for (size_t i = 0; i < TOOLS; i++) {
        if (strcmp(tools[i].name, name) != 0)
            continue;
        fprintf(out, "usage: %s %s%s%s\n\n", p->name, name, *tools[i].arguments ? " " : "",
                tools[i].arguments);
        print_sentence(out, tools[i].help);
        fprintf(out, "\nexample\n  %s %s\n", p->name, tools[i].example);
        return true;
    }
    return false;
}

/* The commands that begin with these words ("": all). Returns how many there are. */
size_t wf_help_group(FILE *out, const struct wf_program *p, const char *words)
{
    size_t n = 0;
    const char *example = NULL;
    for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
        if (!begins_with_words(c->name, words))
            continue;
        if (n++ == 0) {
            fprintf(out, "usage: %s %s%sCOMMAND ...\n\n", p->name, words, *words ? " " : "");
            print_sentence(out, p->summary);
            if (*words != 0 || p->headings == NULL)
                fputs("\ncommands\n", out);
        }
        char left[96];
        for (const struct wf_heading *h = p->headings; *words == 0 && h != NULL; h++) {
            if (h->command == NULL)
                break;
            if (strcmp(h->command, c->name) == 0)
                fprintf(out, "\ncommands: %s\n", h->title);
        }
        snprintf(left, sizeof left, "%s%s%s", c->name, *c->arguments ? " " : "", c->arguments);
        fprintf(out, "  %-44s %s\n", left, c->help);
        if (example == NULL)
            example = c->example;
    }
    if (n == 0)
        return 0;
    if (*words == 0 && p->headings != NULL)
        fputs("\ncommands: for your shell\n", out);
    for (size_t i = 0; i < TOOLS && *words == 0; i++) {
        char left[96];
        snprintf(left, sizeof left, "%s%s%s", tools[i].name, *tools[i].arguments ? " " : "",
                 tools[i].arguments);
        fprintf(out, "  %-44s %s\n", left, tools[i].help);
    }
    fprintf(out, "\n%s [COMMAND] --help tells more.\n", p->name);
    if (example != NULL)
        fprintf(out, "\nexample\n  %s\n", example);
    return n;
}

weft_err wf_help_completion(const struct wf_program *p, const char *shell, wf_why *why)
{
    bool bash = strcmp(shell, "bash") == 0, zsh = strcmp(shell, "zsh") == 0;
    bool fish = strcmp(shell, "fish") == 0;
    if (!bash && !zsh && !fish)
        return wf_fail(why, WEFT_EUSAGE, "completion knows bash, zsh and fish, not \"%s\"", shell);
    if (fish) {
        for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
            char first[64], second[64] = "";
            sscanf(c->name, "%63s %63s", first, second);
            if (second[0] == 0)
                printf("complete -c %s -n __fish_use_subcommand -a %s -d '%s'\n", p->name, first,
                       c->help);
            else
                printf("complete -c %s -n __fish_use_subcommand -a %s\n"
                       "complete -c %s -n '__fish_seen_subcommand_from %s' -a %s -d '%s'\n",
                       p->name, first, p->name, first, second, c->help);
            for (const struct wf_option *o = c->options; o != NULL && o->name != NULL; o++)
                printf("complete -c %s -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n",
                       p->name, first, o->name, o->kind == WF_OPTION_FLAG ? "" : " -r", o->help);
        }
        return WEFT_OK;
    }
    char fn[64];
    snprintf(fn, sizeof fn, "_%s", p->name);
    for (char *at = fn; *at != 0; at++)
        if (*at == '-')
            *at = '_';
    if (zsh)
        printf("#compdef %s\nautoload -U +X bashcompinit && bashcompinit\n", p->name);
    printf("%s() {\n  local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\" "
           "cur=\"${COMP_WORDS[COMP_CWORD]}\" "
           "words=\"\"\n  case \"$line\" in\n",
           fn);
    for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
        printf("  \"%s\"*) words=\"", c->name);
        for (const struct wf_option *o = c->options; o != NULL && o->name != NULL; o++)
            printf("--%s ", o->name);
        printf("--help\" ;;\n");
    }
    /* groups of two words, then the first words; later patterns match only what earlier ones left
     */
    for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
        const char *space = strchr(c->name, ' ');
        if (space == NULL)
            continue;
        int len = (int)(space - c->name);
        printf("  \"%.*s\") words=\"", len, c->name);
        for (const struct wf_command *d = p->commands; d->name != NULL; d++)
            if (strncmp(d->name, c->name, (size_t)len + 1) == 0)
                printf("%s ", d->name + len + 1);
        printf("\" ;;\n");
    }
    printf("  \"\") words=\"");
    for (const struct wf_command *c = p->commands; c->name != NULL; c++)
        printf("%.*s ", (int)strcspn(c->name, " "), c->name);
    printf("completion man --help --version\" ;;\n  esac\n"
           "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F %s %s\n",
           fn, p->name);
    return WEFT_OK;
}

/* Text as roff takes it: its own marks escaped, dashes as they are typed. */
static void print_roff(const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
}

static void print_man_options(const struct wf_option *o)
{
    for (; o != NULL && o->name != NULL; o++) {
        fputs(".br\n\\-\\-", stdout);
        print_roff(o->name);
        if (o->kind != WF_OPTION_FLAG)
            printf(" %s%s", o->value, o->kind == WF_OPTION_LIST ? "..." : "");
        fputs(": ", stdout);
        print_roff(o->help);
        putchar('\n');
    }
}

void wf_help_man(const struct wf_program *p)
{
    printf(".TH \"%s\" 1 \"\" \"Weft %s\"\n.SH NAME\n%s \\- %s\n.SH COMMANDS\n", p->name,
           WEFT_VERSION, p->name, p->summary);
    for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
        printf(".TP\n.B %s %s\n", p->name, c->name);
        if (*c->arguments != 0) {
            fputs(".I ", stdout);
            print_roff(c->arguments);
            putchar('\n');
        }
        putchar('\n');
        print_roff(c->help);
        putchar('\n');
        print_man_options(c->options);
        if (c->example != NULL) {
            fputs(".br\nExample: ", stdout);
            print_roff(c->example);
            putchar('\n');
        }
    }
    puts(".SH OPTIONS OF EVERY COMMAND\nThose marked ... may be given often.");
    print_man_options(p->options);
    print_man_options(wf_help_built_in);
    printf(".SH EXIT STATUS\n0 done, 1 failed, 2 usage, 3 refused by policy, 4 not reachable, "
           "5 credential, 6 timed out\n.SH ENVIRONMENT\nEach option is also a variable: "
           "\\-\\-%s is %s.\n",
           "log\\-level", wf_help_variable("log-level"));
}
