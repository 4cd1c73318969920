/* The settings that the bot declares, in words. */

const $ = (id) => document.getElementById(id);

const NAMES = {
  introduction_message: "Introduction",
  server_bot_dependencies: "Calls other bots",
  allow_attachments: "Attachments",
  expand_text_attachments: "Poe adds the text of attachments",
  enable_image_comprehension: "Poe describes images",
  enforce_author_role_alternation: "Poe joins messages by one author",
  enable_multi_entity_prompting: "Poe joins other bots’ messages",
  enable_multi_bot_chat_prompting: "Poe joins other bots’ messages (old name)",
  rate_card: "Rate card",
  custom_rate_card: "Rate card (old name)",
  cost_label: "Cost label",
  parameter_controls: "Parameter controls",
  response_version: "Version of Poe’s defaults",
  context_clear_window_secs: "Context is cleared after (s)",
  allow_user_context_clear: "Users may clear the context",
};

/** Fill the dialog, either with the settings or with the reason why they are missing. */
export function showSettings(settings, problem) {
  $("settings-problem").textContent = problem ?? "";
  $("settings-problem").hidden = problem === null;
  const declared = Object.entries(settings ?? {}).filter(([, value]) => !isEmpty(value));
  $("settings-list").replaceChildren(...declared.flatMap(([name, value]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = NAMES[name] ?? name;
    term.title = name;
    description.textContent = words(name, value);
    return [term, description];
  }));
  $("settings-raw").textContent = settings ? JSON.stringify(settings, null, 2) : "";
}

function isEmpty(value) {
  if (value === null || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function words(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (name === "server_bot_dependencies") {
    return Object.entries(value).map(([bot, calls]) => `${bot} × ${calls}`).join(", ");
  }
  if (name === "parameter_controls") {
    const controls = (value.sections ?? []).flatMap((section) => section.controls ?? []);
    return controls.map(({ label, control }) => label || control).join(", ");
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
