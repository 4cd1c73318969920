/* The bot's parameter controls: what is chosen here goes along with the next message. */

export class Controls {
  constructor(element) {
    this.element = element;
    this.declared = "null";
    this.fields = new Map();
    this.conditions = [];
    element.addEventListener("input", () => this.#update());
  }

  /** Show these `parameter_controls` of the settings; what was chosen stays while they do. */
  show(declared) {
    const written = JSON.stringify(declared ?? null);
    if (written === this.declared) return;
    this.declared = written;
    this.fields.clear();
    this.conditions = [];
    const sections = (declared?.sections ?? []).map((section) => this.#section(section));
    this.element.querySelector(".fields").replaceChildren(...sections);
    this.element.hidden = this.fields.size === 0;
    this.#update();
  }

  /** What is chosen in the controls in sight, by parameter name. */
  values() {
    const inSight = [...this.fields].filter(([, { node }]) => !node.closest("[hidden]"));
    return Object.fromEntries(inSight.map(([name, { read }]) => [name, read()]));
  }

  #section({ name, controls, tabs }) {
    const tabsOfIt = (tabs ?? []).map((tab) => this.#section(tab));
    return make("div", { className: "section" },
      ...(name ? [make("h3", { textContent: name })] : []),
      ...(controls ?? []).map((control) => this.#control(control)),
      ...tabsOfIt,
    );
  }

  #control(control) {
    if (control.control === "divider") return make("hr");
    if (control.control === "condition") {
      const node = this.#section(control);
      this.conditions.push({ node, condition: control.condition });
      return node;
    }
    const { input, read, shown } = field(control);
    const label = make("span", { textContent: control.label });
    const nodes = shown ? [label, input, shown] : [label, input];
    const node = make("label", { title: control.description ?? "" }, ...nodes);
    this.fields.set(control.parameter_name, { node, read });
    return node;
  }

  #update() {
    const value = ({ literal, parameter_name: name }) =>
      name ? this.fields.get(name)?.read() : literal;
    for (const { node, condition } of this.conditions) {
      node.hidden = !COMPARE[condition.comparator](value(condition.left), value(condition.right));
    }
  }
}

const COMPARE = {
  eq: (left, right) => left === right,
  ne: (left, right) => left !== right,
  gt: (left, right) => left > right,
  ge: (left, right) => left >= right,
  lt: (left, right) => left < right,
  le: (left, right) => left <= right,
};

/** An input for one control, and how to read it; `shown` displays a slider's value. */
function field({ control, default_value: initial, placeholder, options, ...range }) {
  switch (control) {
    case "toggle_switch": {
      const input = make("input", { type: "checkbox", checked: initial ?? false });
      return { input, read: () => input.checked };
    }
    case "slider": {
      const { min_value: min, max_value: max, step } = range;
      const input = make("input", { type: "range", min, max, step, value: initial ?? min });
      const shown = make("output", { value: input.value });
      input.addEventListener("input", () => { shown.value = input.value; });
      return { input, shown, read: () => input.valueAsNumber };
    }
    case "drop_down":
    case "aspect_ratio": {
      const input = make("select", {}, ...options.map(({ value, name, width, height }) => {
        const ratio = `${width}:${height}`;
        return new Option(name ?? ratio, value ?? ratio);
      }));
      input.value = initial ?? input.options[0]?.value ?? "";
      return { input, read: () => input.value };
    }
    default: {
      const tag = control === "text_area" ? "textarea" : "input";
      const input = make(tag, { value: initial ?? "", placeholder: placeholder ?? "" });
      return { input, read: () => input.value };
    }
  }
}

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
