{{/* The prefix of all names: that of the release, once. */}}
{{- define "queuecast.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "queuecast.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What selects the pods of one part; `part` is its name. */}}
{{- define "queuecast.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- with .group }}
queuecast/group: {{ . }}
{{- end }}
{{- end -}}

{{- define "queuecast.labels" -}}
{{ include "queuecast.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Of a pod: nobody's account, nobody's rights, and folders that live as long as it. */}}
{{- define "queuecast.pod" -}}
automountServiceAccountToken: false
{{- /* Else a Service queuecast-flower gives each pod QUEUECAST_FLOWER_PORT=tcp://…, which is a setting. */}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: data
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- end -}}

{{/* Of a container: it writes into its folders and nowhere else. */}}
{{- define "queuecast.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - name: data
    mountPath: {{ .Values.settings.QUEUECAST_DATA_DIR }}
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{/* Where variables come from; `webhooks` adds what signs webhooks. */}}
{{- define "queuecast.variables" -}}
- configMapRef:
    name: {{ include "queuecast.name" .root }}
- secretRef:
    name: {{ .root.Values.secrets.all }}
{{- if .webhooks }}
- secretRef:
    name: {{ .root.Values.secrets.webhooks }}
    optional: true
{{- end }}
{{- end -}}

{{/* A pod with other settings is another pod: it starts anew when they change. */}}
{{- define "queuecast.settingsChecksum" -}}
checksum/settings: {{ toJson .Values.settings | sha256sum }}
{{- end -}}
