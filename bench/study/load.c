/* SPDX-License-Identifier: BSD-3-Clause
 *
 * study_load: users who ask a web server for one route, again and again.
 */
#include "users.h"

#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS_MOST = 10000, REQUEST_MOST = 4096, PHASE_MOST = SECONDS_MOST / 3 };

static const char usage[] =
    "usage: study_load --connect ADDRESS:PORT [OPTION...] METHOD PATH [BODY]\n"
    "  --users N     so many users (500)\n"
    "  --ramp S      the last of them begins after so many seconds (0)\n"
    "  --hold S      and all go on for so many (10)\n"
    "  --pace S      a user begins a request at most every S seconds (0: at once)\n"
    "  --drain S     requests that are open at the end may take so much longer (0)\n"
    "Prints successes, statuses, losses and times as JSON.\n";

enum option_code { HELP = 'h', CONNECT = 1, USERS, RAMP, HOLD, PACE, DRAIN };

static const struct option options[] = {
    {"connect", required_argument, NULL, CONNECT},
    {"users", required_argument, NULL, USERS},
    {"ramp", required_argument, NULL, RAMP},
    {"hold", required_argument, NULL, HOLD},
    {"pace", required_argument, NULL, PACE},
    {"drain", required_argument, NULL, DRAIN},
    {"help", no_argument, NULL, HELP},
    {0},
};

static double read_number(const char *what, const char *text, double most)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= 0 && number <= most))
        errx(2, "--%s %s: give a number from 0 to %.0f", what, text, most);
    return number;
}

static uint64_t read_seconds(const char *what, const char *text)
{
    return (uint64_t)(read_number(what, text, PHASE_MOST) * 1e9);
}

static struct sockaddr_in read_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
        errx(2, "--connect %s: give an IPv4 address and a port, as 127.0.0.1:8000", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        errx(2, "--connect %s: %s is no IPv4 address", text, host);
    address.sin_port = htons((uint16_t)read_number("connect", colon + 1, 65535));
    return address;
}

static void apply(struct load *load, int code)
{
    switch (code) {
    case CONNECT:
        load->server = read_address(optarg);
        break;
    case USERS:
        load->users = (unsigned)read_number("users", optarg, USERS_MOST);
        break;
    case RAMP:
        load->ramp = read_seconds("ramp", optarg);
        break;
    case HOLD:
        load->hold = read_seconds("hold", optarg);
        break;
    case PACE:
        load->pace = read_seconds("pace", optarg);
        break;
    case DRAIN:
        load->drain = read_seconds("drain", optarg);
        break;
    default:
        fputs(usage, code == HELP ? stdout : stderr);
        exit(code == HELP ? 0 : 2);
    }
}

static void make_request(struct load *load, char **words, int count)
{
    static char request[REQUEST_MOST];
    const char *body = count > 2 ? words[2] : "";
    int size = snprintf(
        request, sizeof(request),
        "%s %s HTTP/1.1\r\nHost: study\r\n%sContent-Length: %zu\r\n\r\n%s", words[0], words[1],
        *body != '\0' ? "Content-Type: application/json\r\n" : "", strlen(body), body);
    if (size < 0 || (size_t)size >= sizeof(request))
        errx(2, "the request is longer than %d bytes", REQUEST_MOST);
    load->request = request;
    load->size = (size_t)size;
}

int main(int argc, char **argv)
{
    static struct tally tally; /* large */
    struct load load = {.users = 500, .hold = 10000000000u};
    int code;
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1)
        apply(&load, code);
    if (load.server.sin_port == 0 || argc - optind < 2 || argc - optind > 3)
        apply(&load, 0);
    make_request(&load, argv + optind, argc - optind);
    unsigned open = users_run(&load, &tally);
    return tally_print(&tally, open) ? 0 : 1;
}
